"""Draw how far estimators of Shapley values are from the truth, and how well they prune."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune.workflow import figures

    table = figures.read(snakemake.input.table, snakemake.wildcards.net)
    entries = {name: {**entry, "aggregates": ["mean"]} for name, entry in snakemake.params.estimators.items()}
    styles = figures.criterion_styles(entries)
    figures.save(figures.estimators_cost(table, styles), snakemake.output.cost)
    figures.save(figures.estimators_pruning(table, styles), snakemake.output.pruning)
