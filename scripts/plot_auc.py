"""Draw the areas under the removal curves of a network, of all layers together and layer by layer."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune.workflow import figures

    table = figures.read(snakemake.input.table, snakemake.wildcards.net)
    styles = figures.criterion_styles(snakemake.params.criteria)
    figures.save(figures.auc_bars(table, styles), snakemake.output.all)
    figures.save(figures.auc_layers(table, styles), snakemake.output.layers)
