"""Remove the units of a layer in the order of every criterion and measure what is left."""

from shapprune.jobs import job

with job(snakemake.log[0], snakemake.threads, snakemake.resources.gpu, snakemake.resources.gpu_slots):
    from pathlib import Path

    from shapprune.tables import CURVES, write_table
    from shapprune.work import Work

    given = snakemake.params
    work = Work(snakemake.resources.store, given.units)
    work.find()
    if work.missing:
        from shapprune.stages.curves import keep_curves
        from shapprune.stages.run import open_run

        run, scores = open_run(snakemake, work.consumes("model")), Path(snakemake.input.model).parent / "scores"
        keep_curves(run, snakemake.wildcards.layer, scores, given.images, work)
    write_table(snakemake.output.curves, CURVES, work.rows())
    work.write_manifest(snakemake.output.manifest)
