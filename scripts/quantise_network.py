"""Quantise the weights of a network by each method, and measure what that does."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.workflow.computing.quantisation import keep_quantised
        from shapprune.workflow.computing.run import open_run

        keep_quantised(open_run(snakemake, work), work)
