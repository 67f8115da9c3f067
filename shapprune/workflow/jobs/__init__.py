"""How a job of the workflow runs: its log, threads and GPU, and who runs a study in a folder."""
