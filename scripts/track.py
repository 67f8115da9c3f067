"""Mirror the finished study into MLflow."""

from shapprune.workflow.jobs.frame import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from shapprune.core.files import write_json
    from shapprune.workflow.share import headlines, logged
    from shapprune.workflow.share import mlflow as tracking
    from shapprune.workflow.study import config

    given, results = snakemake.input, Path("results")
    runs = logged.collect(
        config.read(given.config),
        snakemake.params.logged,
        results / "tables",
        results / "benchmarks",
        headlines.points(headlines.read(results / "tables" / "headline.csv")),
    )
    files = {str(Path(path).relative_to(results)): Path(path) for path in [given.config, *given.tables, *given.figures]}
    outcome = tracking.mirror(runs, files, results / "mlflow")
    write_json(snakemake.output[0], outcome)
    print(f"{outcome['added']} of {len(runs)} runs added to {outcome['tracking_uri']}")
