"""Score all layers of a network by the criteria that need a pass or two."""

from shapprune.jobs import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from shapprune.stages import open_run, write_layer_scores

    given = snakemake.params
    of_network = given.network, given.validation, given.device, snakemake.resources.call_mb
    run = open_run(snakemake.input.model, snakemake.input.data, *of_network)
    scores = Path(snakemake.input.model).parent / "scores"
    for layer in given.layers:
        write_layer_scores(run, layer, scores, given.criteria, given.scoring)
