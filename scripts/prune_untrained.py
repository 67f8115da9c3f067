"""Remove the units of an untrained network that score below zero, by each criterion, and measure what is left."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads, snakemake.resources.gpu, snakemake.resources.gpu_slots):
    from shapprune.core.tables import write_table
    from shapprune.workflow.stages.columns import UNTRAINED
    from shapprune.workflow.store.work import Work

    given = snakemake.params
    work = Work(snakemake.resources.store, given.tasks)
    work.find()
    if work.missing:
        from shapprune.data.prepared import read_prepared
        from shapprune.workflow.stages.untrained import keep_untrained

        image_set, seed = read_prepared(snakemake.input.data), int(snakemake.wildcards.seed)
        for criterion, entry in given.criteria.items():
            if any(label.startswith(f"{criterion}/") for label in work.missing):
                keep_untrained(
                    *(given.network, image_set, seed, criterion, entry, given.layers, given.images, given.scoring),
                    work=work,
                    device=given.device,
                    memory_mb=snakemake.resources.call_mb,
                )
    write_table(snakemake.output.table, UNTRAINED, work.rows())
    work.write_manifest(snakemake.output.manifest)
