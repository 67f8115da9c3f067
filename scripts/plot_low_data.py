"""Draw what is left of a network that was pruned with little data, step by step and in the end."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune.workflow import figures

    table = figures.read(snakemake.input.table, snakemake.wildcards.net)
    styles = figures.criterion_styles(snakemake.params.criteria)
    for of in ("loss", "accuracy"):
        figures.save(figures.low_data_curves(table, styles, of), snakemake.output[of])
        figures.save(figures.low_data_final(table, styles, of), snakemake.output[f"final_{of}"])
