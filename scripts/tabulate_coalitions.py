"""Value all coalitions of a small layer, and note the oracle sets and exact Shapley values that follow."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads, snakemake.resources.gpu, snakemake.resources.gpu_slots):
    from pathlib import Path

    from shapprune.workflow.store.work import Work

    given, layer, path = snakemake.params, snakemake.wildcards.layer, Path(snakemake.output.table)
    work = Work(snakemake.resources.store, given.tasks)
    work.find_files(path.parent)
    if work.missing:
        from shapprune.workflow.stages.oracle import write_table
        from shapprune.workflow.stages.run import open_run

        unfinished = path.with_suffix(".pt")  # no output: Snakemake would delete it when the job is cut off
        run = open_run(snakemake, work.consumes("model"))
        write_table(run, layer, given.images, given.scoring, path, work, unfinished)
