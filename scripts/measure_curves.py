"""Remove the units of a layer in the order of every criterion and measure what is left."""

from shapprune.jobs import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from shapprune.stages import CURVES, layer_curves, open_run
    from shapprune.tables import write_table

    given = snakemake.params
    of_network = given.network, given.validation, given.device, snakemake.resources.call_mb
    run = open_run(snakemake.input.model, snakemake.input.data, *of_network)
    scores = Path(snakemake.input.model).parent / "scores"
    rows = layer_curves(run, snakemake.wildcards.layer, scores, given.criteria, given.images)
    write_table(snakemake.output.curves, CURVES, rows)
