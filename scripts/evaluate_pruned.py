"""Measure loss, accuracy and size of the low-data networks after each step."""

from shapprune.jobs import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from shapprune.progress import track
    from shapprune.stages import LOW_DATA, chains, evaluate_chain, open_run
    from shapprune.tables import write_table

    given = snakemake.params
    of_network = given.network, given.validation, given.device, snakemake.resources.call_mb
    run = open_run(snakemake.input.model, snakemake.input.data, *of_network)
    every = [
        (Path(folder) / file, chain, name)
        for folder, (name, entry) in zip(snakemake.input.pruned, given.criteria.items(), strict=True)
        for file, chain in chains(entry, given.low_data)
    ]
    rows = [row for path, chain, name in track(every, "chains") for row in evaluate_chain(run, path, chain, name)]
    write_table(snakemake.output.table, LOW_DATA, rows)
