"""What the stages of a study declare: their jobs, tasks, results and tables. Known without torch; counts in no key."""
