"""Score all layers of a network by the criteria that need a pass or two."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads, snakemake.resources.gpu, snakemake.resources.gpu_slots):
    from pathlib import Path

    from shapprune.workflow.store.work import Work

    given, folder = snakemake.params, Path(snakemake.input.model).parent / "scores"
    work = Work(snakemake.resources.store, given.tasks)
    work.find_files(folder)
    if work.missing:
        from shapprune.workflow.stages.run import open_run
        from shapprune.workflow.stages.score import write_layer_scores

        run = open_run(snakemake, work.consumes("model"))
        for layer in given.layers:
            write_layer_scores(run, layer, folder, given.criteria, given.scoring, work)
