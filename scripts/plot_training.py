"""Draw how a network was trained."""

from shapprune.jobs import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune import figures

    table = figures.read(snakemake.input.table, snakemake.wildcards.net)
    figures.save(figures.training_curves(table), snakemake.output[0])
