"""Train the low-data networks of a criterion again, with more or less data, and measure them."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads, snakemake.resources.gpu, snakemake.resources.gpu_slots):
    from pathlib import Path

    from shapprune.core.tables import write_table
    from shapprune.workflow.stages.columns import FINE_TUNE
    from shapprune.workflow.store.work import Work

    given = snakemake.params
    work = Work(snakemake.resources.store, given.tasks)
    work.find()
    if work.missing:
        from shapprune.core.progress import track
        from shapprune.workflow.stages.fine_tune import keep_fine_tuned
        from shapprune.workflow.stages.run import open_run

        run, folder = open_run(snakemake, work.consumes("model")), Path(snakemake.input.pruned).parent
        # No output: Snakemake would delete it when the job is cut off.
        unfinished = folder.parent / f"unfinished-fine-tuned-{snakemake.wildcards.criterion}.pt"
        for label in track(list(work.missing), "networks"):
            keep_fine_tuned(run, label, folder, given.train, given.test_images, work, unfinished)
    write_table(snakemake.output.table, FINE_TUNE, work.rows())
    work.write_manifest(snakemake.output.manifest)
