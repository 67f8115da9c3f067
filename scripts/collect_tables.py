"""Collect what the jobs of the study wrote into one table of each kind."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from shapprune.workflow.stages import collect
    from shapprune.workflow.stages.columns import CURVES, ESTIMATORS, FINE_TUNE, LOW_DATA, OVERLAPS, UNTRAINED
    from shapprune.workflow.store.work import require

    given, output = snakemake.input, snakemake.output
    for manifest, key in snakemake.params.expected.items():
        require(manifest, key)
    collect.write(output.networks, collect.networks(given.manifests))
    collect.write(output.training, collect.training(given.training, given.manifests))
    collect.write(output.scores, collect.scores(given.scores, snakemake.params.criteria))
    curves = collect.stack(given.curves, CURVES)
    collect.write(output.curves, curves)
    collect.write(output.auc, collect.areas(curves))
    collect.write(output.oracle, collect.stack(given.overlaps, OVERLAPS))
    collect.write(output.estimators, collect.stack(given.estimators, ESTIMATORS))
    collect.write(output.low_data, collect.stack(given.low_data, LOW_DATA))
    collect.write(output.fine_tune, collect.stack(given.fine_tune, FINE_TUNE))
    collect.write(output.untrained, collect.stack(given.untrained, UNTRAINED))
    collect.write(output.compress, collect.compressed(given.compress))
    collect.write(output.timing, collect.timing("results/benchmarks", given.manifests, given.scores))
