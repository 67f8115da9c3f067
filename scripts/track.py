"""Mirror the finished study into MLflow."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from shapprune.core.files import write_json
    from shapprune.workflow.share import headlines, logged
    from shapprune.workflow.share import mlflow as tracking
    from shapprune.workflow.study import config

    given, results = snakemake.input, Path("results")
    found = logged.collect(
        config.read(given.config),
        given.networks,
        given.scores,
        given.coalitions,
        given.estimators,
        given.measured,
        given.compressed,
        given.untrained,
        results / "tables",
        results / "benchmarks",
        headlines.points(headlines.read(results / "tables" / "headline.csv")),
    )
    files = {str(Path(path).relative_to(results)): Path(path) for path in [given.config, *given.tables, *given.figures]}
    told = tracking.mirror(found, files, results / "mlflow")
    write_json(snakemake.output[0], told)
    print(f"{told['added']} of {len(found)} runs added to {told['tracking_uri']}")
