"""Score all layers of a network by the criteria that need a pass or two."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.workflow.computing.run import open_run
        from shapprune.workflow.computing.scores import keep_scores

        keep_scores(open_run(snakemake, work), work)
