"""Remove the units of a layer in the order of every criterion and measure what is left."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads, snakemake.resources.gpu, snakemake.resources.gpu_slots):
    from pathlib import Path

    from shapprune.core.tables import write_table
    from shapprune.workflow.stages.columns import CURVES
    from shapprune.workflow.store.work import Work

    given = snakemake.params
    work = Work(snakemake.resources.store, given.tasks)
    work.find()
    if work.missing:
        from shapprune.workflow.stages.curves import keep_curves
        from shapprune.workflow.stages.run import open_run

        run, scores = open_run(snakemake, work.consumes("model")), Path(snakemake.input.model).parent / "scores"
        keep_curves(run, snakemake.wildcards.layer, scores, given.images, work)
    write_table(snakemake.output.curves, CURVES, work.rows())
    work.write_manifest(snakemake.output.manifest)
