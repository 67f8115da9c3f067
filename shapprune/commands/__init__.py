"""The commands of ``python -m shapprune``, one a module; each imports what is heavy only when it runs."""
