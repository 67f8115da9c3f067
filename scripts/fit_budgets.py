"""Make a network fit budgets by one method, with few training images without labels, once for each trial."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.workflow.computing.budgets import keep_fitted
        from shapprune.workflow.computing.run import open_run

        keep_fitted(open_run(snakemake, work), work)
