"""Results, mirrored into MLflow.

REQUIRED INPUTS
    results/{net}/seed{seed}/ as all other rules leave it, results/tables/*.csv, results/figures/, results/run_config.yaml
OUTPUTS
    results/tracking.json    where the runs are and how many
    results/mlflow/          MLflow's database and artifacts, unless MLFLOW_TRACKING_URI names a server
"""

from shapprune.workflow.share import mlflow as tracking


localrules:
    track,


rule track:
    """Mirror the finished study into MLflow."""
    input:
        config="results/run_config.yaml",
        results=[path for rule in PLAN.stages for path in results(rule)],
        tables=TABLES,
        figures=FIGURES,
    output:
        "results/tracking.json",
    log:
        "results/logs/track.log",
    conda:
        "../envs/tracking.yaml"
    params:
        logged=PLAN.logged(),
        server=tracking.server(),
        experiment=tracking.experiment_name(),
    message:
        "Mirroring results into MLflow"
    script:
        "../scripts/track.py"
