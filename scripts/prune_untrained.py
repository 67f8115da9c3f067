"""Remove the units of an untrained network that score below zero, by each criterion, and measure what is left."""

from shapprune.workflow.jobs.frame import stored_job

with stored_job(snakemake) as work:
    if work.missing:
        from shapprune.data.prepared import read_prepared
        from shapprune.workflow.computing.untrained import keep_untrained

        image_set = read_prepared(snakemake.input.data)
        keep_untrained(image_set, work, snakemake.params.device, snakemake.resources.call_mb)
