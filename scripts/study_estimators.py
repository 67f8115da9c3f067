"""Compare estimators of Shapley values with the truth in a layer, and their orders with each other."""

from shapprune.jobs import job

with job(snakemake.log[0], snakemake.threads, snakemake.resources.gpu, snakemake.resources.gpu_slots):
    from pathlib import Path

    from shapprune.tables import ESTIMATORS, write_table
    from shapprune.work import Work

    given, layer = snakemake.params, snakemake.wildcards.layer
    work = Work(snakemake.resources.store, given.units)
    work.find()
    if work.missing:
        from shapprune.compared import variants
        from shapprune.stages.estimators import keep_errors
        from shapprune.stages.run import open_run

        every = [each for name, entry in given.estimators.items() for each in variants(name, entry)]
        keep_errors(
            open_run(snakemake, work.consumes("model")),
            layer,
            next(map(Path, snakemake.input.table), None),
            given.images,
            given.curve_images,
            entries={f"{each.estimator}/{each.setting}": each.entry for each in every},
            converged=given.converged,
            scoring=given.scoring,
            work=work,
            unfinished=Path(snakemake.output.errors).with_suffix(".pt"),
        )
    write_table(snakemake.output.errors, ESTIMATORS, work.rows())
    work.write_manifest(snakemake.output.manifest)
