"""Compare the removal order of every criterion with the oracle sets of a layer."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from shapprune.core.tables import write_table
    from shapprune.workflow.stages.columns import OVERLAPS
    from shapprune.workflow.store.work import Work

    work = Work(snakemake.resources.store, snakemake.params.tasks)
    work.find()
    if work.missing:
        from shapprune.workflow.stages.oracle import keep_overlaps

        scores = Path(snakemake.input.model).parent / "scores"
        keep_overlaps(Path(snakemake.input.table), scores, snakemake.wildcards.layer, work)
    write_table(snakemake.output.overlap, OVERLAPS, work.rows())
    work.write_manifest(snakemake.output.manifest)
