"""Train the low-data networks of a criterion again, with more or less data, and measure them."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.core.progress import track
        from shapprune.workflow.computing.fine_tune import keep_fine_tuned
        from shapprune.workflow.computing.run import open_run

        run = open_run(snakemake, work)
        for label in track(list(work.missing), "networks"):
            keep_fine_tuned(run, label, work)
