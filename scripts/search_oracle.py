"""Compare the removal order of every criterion with the oracle sets of a layer."""

from shapprune.jobs import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    import numpy as np

    from shapprune.files import read_json
    from shapprune.stages import OVERLAPS, layer_overlaps
    from shapprune.tables import write_table

    facts = read_json(snakemake.input.manifest)
    name = {key: facts[key] for key in ("net", "seed", "layer")}
    with np.load(snakemake.input.table, allow_pickle=False) as arrays:
        table = arrays["table"]
    scores = Path(snakemake.input.model).parent / "scores"
    write_table(snakemake.output.overlap, OVERLAPS, layer_overlaps(name, table, scores, snakemake.params.criteria))
