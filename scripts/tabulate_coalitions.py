"""Value all coalitions of a small layer, and note the oracle sets and exact Shapley values that follow."""

from shapprune.jobs import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from shapprune.work import Work

    given, layer, folder = snakemake.params, snakemake.wildcards.layer, Path(snakemake.output.table).parent
    work = Work(snakemake.resources.store, given.units)
    work.find_files(folder)
    if work.missing:
        import numpy as np

        from shapprune.files import whole, write_json
        from shapprune.stages.oracle import layer_table
        from shapprune.stages.run import open_run

        table, facts = layer_table(open_run(snakemake, work.consumes("model")), layer, given.images, given.scoring)
        with whole(snakemake.output.table) as temporary:
            np.savez(temporary, allow_pickle=False, table=table)
        write_json(snakemake.output.manifest, facts)
        work.keep_files(layer, folder, ".npz")
