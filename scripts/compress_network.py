"""Make a network smaller by the scores of a criterion, in all layers at once, and train it again."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads, snakemake.resources.gpu, snakemake.resources.gpu_slots):
    from pathlib import Path

    from shapprune.workflow.store.work import Work

    given, folder = snakemake.params, Path(snakemake.output[0])
    work = Work(snakemake.resources.store, given.tasks)
    work.find_files(folder)
    if work.missing:
        from shapprune.workflow.stages.compress import write_compressed
        from shapprune.workflow.stages.run import open_run

        run, criterion = open_run(snakemake, work.consumes("model")), snakemake.wildcards.criterion
        scores = Path(snakemake.input.model).parent / "scores"
        # No output: Snakemake would delete it when the job is cut off.
        unfinished = folder.parents[1] / f"unfinished-compressed-{criterion}.pt"
        for label in list(work.missing):
            write_compressed(run, label, criterion, given.layers, scores, folder, given.train, work, unfinished)
