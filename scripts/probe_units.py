"""Fit probes to the activations of a network's units that criteria choose, and measure them."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.workflow.computing.probe import keep_probed
        from shapprune.workflow.computing.run import open_run

        keep_probed(open_run(snakemake, work), work)
