"""Draw how a network was trained."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune.workflow import figures

    table = figures.read(snakemake.input.table, snakemake.wildcards.net)
    figures.save(figures.training_curves(table), snakemake.output[0])
