"""Value all coalitions of a small layer, and note the oracle sets and exact Shapley values that follow."""

from shapprune.jobs import job

with job(snakemake.log[0], snakemake.threads):
    import numpy as np

    from shapprune.files import whole, write_json
    from shapprune.stages import layer_table, open_run

    given = snakemake.params
    of_network = given.network, given.validation, given.device, snakemake.resources.call_mb
    run = open_run(snakemake.input.model, snakemake.input.data, *of_network)
    table, facts = layer_table(run, snakemake.wildcards.layer, given.images, given.scoring)
    with whole(snakemake.output.table) as temporary:
        np.savez(temporary, allow_pickle=False, table=table)
    write_json(snakemake.output.manifest, facts)
