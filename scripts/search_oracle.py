"""Compare the removal order of every criterion with the oracle sets of a layer."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.workflow.computing.coalitions import keep_overlaps

        keep_overlaps(work)
