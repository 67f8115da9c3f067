"""How a job of the workflow runs: its log, threads and GPU."""
