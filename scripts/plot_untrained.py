"""Draw an untrained network as the units that score below zero leave."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune.workflow import figures

    table = figures.read(snakemake.input.table, snakemake.wildcards.net)
    styles = figures.criterion_styles(snakemake.params.criteria)
    layers, classes = snakemake.params.layers, snakemake.params.classes
    figures.save(figures.untrained_steps(table, styles, layers, classes), snakemake.output[0])
