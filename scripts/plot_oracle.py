"""Draw how near the criteria come to the oracle sets of a network's small layers."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune.workflow import figures

    table = figures.read(snakemake.input.table, snakemake.wildcards.net)
    styles = figures.criterion_styles(snakemake.params.criteria)
    figures.save(figures.oracle_overlap(table, styles), snakemake.output.overlap)
    figures.save(figures.oracle_accuracy(table, styles), snakemake.output.accuracy)
