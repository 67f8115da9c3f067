"""Prune a network by one criterion with little data, once for each aggregate, ratio and trial."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads, snakemake.resources.gpu, snakemake.resources.gpu_slots):
    from pathlib import Path

    from shapprune.workflow.store.work import Work

    given, folder = snakemake.params, Path(snakemake.output[0])
    work = Work(snakemake.resources.store, given.tasks)
    work.find_files(folder)
    if work.missing:
        from shapprune.core.progress import track
        from shapprune.workflow.stages.low_data import write_chain
        from shapprune.workflow.stages.run import open_run

        run, of_steps = open_run(snakemake, work.consumes("model")), Work(snakemake.resources.store, given.steps)
        for label in track(list(work.missing), "chains"):
            steps = {layer: f"{label}/{layer}" for layer in given.layers}
            write_chain(run, label, steps, folder, given.criterion, given.images, given.scoring, work, of_steps)
