"""Put together how the low-data networks do after each step; what was not measured as they were made is measured."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.core.progress import track
        from shapprune.workflow.computing.low_data import keep_evaluation
        from shapprune.workflow.computing.run import open_run

        run = open_run(snakemake, work)
        for label in track(list(work.missing), "chains"):
            keep_evaluation(run, label, work)
