"""Draw what is left of a network that lost units of all layers at once and was trained again."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune.workflow import figures

    table = figures.read(snakemake.input.table, snakemake.wildcards.net)
    networks = figures.read(snakemake.input.networks, snakemake.wildcards.net)
    styles = figures.criterion_styles(snakemake.params.criteria)
    figures.save(figures.compress_sizes(table, networks, styles), snakemake.output[0])
