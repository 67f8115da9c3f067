"""Compare estimators of Shapley values with the truth in a layer, and their orders with each other."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.workflow.computing.estimators import keep_errors
        from shapprune.workflow.computing.run import open_run

        keep_errors(open_run(snakemake, work), work)
