"""Draw the figures of one rule for a network."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune.workflow.figures.draw import draw
    from shapprune.workflow.figures.layout import save

    tables, params = dict(snakemake.input.items()), dict(snakemake.params.items())
    for name, path in snakemake.output.items():
        save(draw(name, snakemake.wildcards.net, tables, params), path)
