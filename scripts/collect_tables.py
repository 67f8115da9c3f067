"""Collect what the jobs of the study wrote into one table of each kind."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune.workflow.computing import collect
    from shapprune.workflow.store.work import require

    found, given, output = snakemake.input, snakemake.params, snakemake.output
    for manifest, key in given.expected.items():
        require(manifest, key)
    for name, table in given.tables.items():
        made = collect.MAKERS[table.kind](found[name], table.columns, given.criteria)
        collect.write(output[name], made)
    collect.write(output.timing, collect.timing(given.timed, found.networks, found.scores))
