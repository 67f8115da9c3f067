"""Set the units of a network with the lowest scores to zero, and measure what that does."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.workflow.computing.deactivation import keep_deactivated
        from shapprune.workflow.computing.run import open_run

        keep_deactivated(open_run(snakemake, work), work)
