"""Measure loss, accuracy and size of the low-data networks after each step."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads, snakemake.resources.gpu, snakemake.resources.gpu_slots):
    from pathlib import Path

    from shapprune.core.tables import write_table
    from shapprune.workflow.stages.columns import LOW_DATA
    from shapprune.workflow.store.work import Work

    work = Work(snakemake.resources.store, snakemake.params.tasks)
    work.find()
    if work.missing:
        from shapprune.core.progress import track
        from shapprune.workflow.stages.low_data import keep_evaluation
        from shapprune.workflow.stages.run import open_run

        run, folder = open_run(snakemake, work.consumes("model")), Path(snakemake.input.model).parent / "pruned"
        for label in track(list(work.missing), "chains"):
            keep_evaluation(run, label, folder, snakemake.params.test_images, work)
    write_table(snakemake.output.table, LOW_DATA, work.rows())
    work.write_manifest(snakemake.output.manifest)
