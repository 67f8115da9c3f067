"""Remove the units of a layer in the order of every criterion and measure what is left."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.workflow.computing.curves import keep_curves
        from shapprune.workflow.computing.run import open_run

        keep_curves(open_run(snakemake, work), work)
