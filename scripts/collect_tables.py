"""Collect what the jobs of the study wrote into one table of each kind."""

from shapprune.jobs import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune import collect
    from shapprune.work import require

    given, output = snakemake.input, snakemake.output
    for manifest, key in snakemake.params.expected.items():
        require(manifest, key)
    collect.write(output.networks, collect.networks(given.manifests))
    collect.write(output.training, collect.training(given.training, given.manifests))
    collect.write(output.scores, collect.scores(given.scores, snakemake.params.criteria))
    curves = collect.stack(given.curves)
    collect.write(output.curves, curves)
    collect.write(output.auc, collect.areas(curves))
    collect.write(output.oracle, collect.stack(given.overlaps))
    collect.write(output.low_data, collect.stack(given.low_data))
    collect.write(output.timing, collect.timing("results/benchmarks", given.manifests, given.scores))
