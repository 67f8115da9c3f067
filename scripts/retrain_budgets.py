"""Train the networks that fit budgets, of one method, on, and measure them."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.core.progress import track
        from shapprune.workflow.computing.retrain import keep_retrained
        from shapprune.workflow.computing.run import open_run

        run = open_run(snakemake, work)
        for label in track(list(work.missing), "networks"):
            keep_retrained(run, label, work)
