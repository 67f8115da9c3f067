"""Value all coalitions of a small layer, and note the oracle sets and exact Shapley values that follow."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.workflow.computing.coalitions import keep_table
        from shapprune.workflow.computing.run import open_run

        keep_table(open_run(snakemake, work), work)
