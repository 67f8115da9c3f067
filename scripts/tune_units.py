"""Train the units of a network on that a method selects, and measure what comes out."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.data.prepared import read_prepared
        from shapprune.workflow.computing.run import open_run
        from shapprune.workflow.computing.selective import keep_tuned, on_data

        keep_tuned(on_data(open_run(snakemake, work), read_prepared(snakemake.input.tuned_on)), work)
