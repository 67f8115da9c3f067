"""Score one layer of a network by the criteria that walk through coalitions."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads, snakemake.resources.gpu, snakemake.resources.gpu_slots):
    from pathlib import Path

    from shapprune.workflow.store.work import Work

    given, folder = snakemake.params, Path(snakemake.input.model).parent
    work = Work(snakemake.resources.store, given.tasks)
    work.find_files(folder / "scores")
    if work.missing:
        from shapprune.workflow.stages.run import open_run
        from shapprune.workflow.stages.score import write_layer_scores

        run, layer = open_run(snakemake, work.consumes("model")), snakemake.wildcards.layer
        unfinished = folder / f"unfinished-{layer}"  # no output: Snakemake would delete it when the job is cut off
        write_layer_scores(run, layer, folder / "scores", given.criteria, given.scoring, work, unfinished)
