"""Draw pruned networks of a network that were trained again with more or less data."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune.workflow import figures

    table = figures.read(snakemake.input.table, snakemake.wildcards.net)
    styles = figures.criterion_styles(snakemake.params.criteria)
    figures.save(figures.fine_tune_amounts(table, styles), snakemake.output[0])
