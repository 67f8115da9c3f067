"""Score one layer of a network by the criteria that walk through coalitions."""

from shapprune.jobs import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from shapprune.stages import open_run, write_layer_scores

    given = snakemake.params
    run = open_run(snakemake.input.model, snakemake.input.data, given.network, given.validation, given.device)
    scores = Path(snakemake.input.model).parent / "scores"
    write_layer_scores(run, snakemake.wildcards.layer, scores, given.criteria, given.scoring)
