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
        networks=runs(f"{RUN}/model.json"),
        scores=runs(HEURISTIC_SCORES) + layers(WALK_SCORES),
        coalitions=small_layers(f"{RUN}/oracle/{{layer}}.json"),
        estimators=compared_layers(f"{RUN}/estimators/{{layer}}.csv"),
        measured=[
            *runs(f"{RUN}/low_data.csv"),
            *layers(f"{RUN}/curves/{{layer}}.csv"),
            *small_layers(f"{RUN}/oracle/overlaps/{{layer}}.csv"),
            *runs(f"{RUN}/fine_tuned/{{criterion}}.csv", criterion=FINE_TUNED),
        ],
        compressed=compressed(),
        untrained=runs(f"{RUN}/untrained.csv", UNTRAINED),
        tables=TABLES,
        figures=FIGURES,
    output:
        "results/tracking.json",
    log:
        "results/logs/track.log",
    conda:
        "../envs/tracking.yaml"
    params:
        server=tracking.server(),
        experiment=tracking.experiment_name(),
    message:
        "Mirroring results into MLflow"
    script:
        "../scripts/track.py"
