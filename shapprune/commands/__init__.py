"""The commands of ``python -m shapprune``, one a module; what is heavy is imported when a command runs."""
