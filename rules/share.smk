"""What is kept in git and shared by DVC; nothing here is part of the study.

REQUIRED INPUTS
    results/tables/*.csv, or whatever is in the store
OUTPUTS
    metrics/metrics.json      headline numbers, for `dvc metrics`; git keeps them
    metrics/*.csv             the points of `dvc plots`; git keeps them too
    data/store.dvc, dvc.lock  which records the store has, and what the metrics were made from
"""


localrules:
    write_metrics,
    snapshot,


rule write_metrics:
    """Write the headline numbers that DVC compares."""
    input:
        networks="results/tables/networks.csv",
        auc="results/tables/auc.csv",
        low_data="results/tables/low_data.csv",
        headline="results/tables/headline.csv",
    output:
        metrics="metrics/metrics.json",
        auc="metrics/auc.csv",
        low_data="metrics/low_data.csv",
        manifest="results/metrics.json",
    log:
        "results/logs/write_metrics.log",
    conda:
        "../envs/plots.yaml"
    params:
        criteria=CRITERIA,
        expected=PLAN.expected,
    message:
        "Writing headline numbers"
    script:
        "../scripts/write_metrics.py"


rule snapshot:
    """Take a snapshot of the store with DVC and say what to type next."""
    log:
        "results/logs/snapshot.log",
    conda:
        "../envs/share.yaml"
    resources:
        store=config["store"],
    message:
        "Taking a snapshot of the store"
    script:
        "../scripts/snapshot.py"
