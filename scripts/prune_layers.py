"""Prune a network by one criterion with little data, once for each aggregate, ratio and trial."""

from shapprune.jobs import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from shapprune.progress import track
    from shapprune.stages import chains, open_run, write_chain

    given = snakemake.params
    of_network = given.network, given.validation, given.device, snakemake.resources.call_mb
    run = open_run(snakemake.input.model, snakemake.input.data, *of_network)
    for file, chain in track(list(chains(given.criterion, given.low_data)), "chains"):
        path = Path(snakemake.output[0]) / file
        write_chain(run, given.layers, path, given.criterion, chain, given.low_data["images"], given.scoring)
