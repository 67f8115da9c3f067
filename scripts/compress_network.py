"""Make a network smaller by the scores of a criterion, in all layers at once, and train it again."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.workflow.computing.compress import keep_compressed
        from shapprune.workflow.computing.run import open_run

        run = open_run(snakemake, work)
        for label in list(work.missing):
            keep_compressed(run, label, work)
