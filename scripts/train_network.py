"""Train a network by its recipe, or take its weights, and write it with what is known of it."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    from shapprune.data.prepared import read_prepared, require_data

    if work.missing:
        from shapprune.workflow.computing.train import keep_network

        keep_network(read_prepared(snakemake.input.data), work, snakemake.params.device)
    require_data(work.facts["model"], snakemake.input.data)
