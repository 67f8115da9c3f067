"""Compare estimators of Shapley values with the truth in a layer, and their orders with each other."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads, snakemake.resources.gpu, snakemake.resources.gpu_slots):
    from pathlib import Path

    from shapprune.core.tables import write_table
    from shapprune.workflow.stages.columns import ESTIMATORS
    from shapprune.workflow.store.work import Work

    given, layer = snakemake.params, snakemake.wildcards.layer
    work = Work(snakemake.resources.store, given.tasks)
    work.find()
    if work.missing:
        from shapprune.workflow.stages.estimators import keep_errors
        from shapprune.workflow.stages.run import open_run
        from shapprune.workflow.study.compared import variants

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
