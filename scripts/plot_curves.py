"""Draw the removal curves of a network."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune.workflow import figures

    table = figures.read(snakemake.input.table, snakemake.wildcards.net)
    styles = figures.criterion_styles(snakemake.params.criteria)
    for of in ("loss", "accuracy"):
        figures.save(figures.removal_curves(table, styles, of), snakemake.output[of])
