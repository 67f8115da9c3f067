"""Score one layer of a network by the criteria that walk through coalitions."""

from shapprune.jobs import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from shapprune.stages import open_run, write_layer_scores

    given = snakemake.params
    of_network = given.network, given.validation, given.device, snakemake.resources.call_mb
    run = open_run(snakemake.input.model, snakemake.input.data, *of_network)
    layer, folder = snakemake.wildcards.layer, Path(snakemake.input.model).parent
    unfinished = folder / f"unfinished-{layer}"  # no output: Snakemake would delete it when the job is cut off
    write_layer_scores(run, layer, folder / "scores", given.criteria, given.scoring, unfinished)
