"""What removing units costs, and the tables of the study.

REQUIRED INPUTS
    results/{net}/seed{seed}/model.safetensors, scores/, pruned/, oracle/, and results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/curves/{layer}.csv    loss and accuracy along each criterion's removal order
    results/{net}/seed{seed}/low_data.csv          loss, accuracy and size after each step of the low-data protocol
    results/tables/*.csv                           everything of one kind in one table
    results/run_config.yaml                        the configuration as it was used, defaults filled in
"""


rule measure_curves:
    """Measure loss and accuracy along the removal orders of a layer."""
    input:
        data=data_of,
        model=f"{RUN}/model.safetensors",
        scores=scores_of,
    output:
        curves=f"{RUN}/curves/{{layer}}.csv",
        manifest=f"{RUN}/curves/{{layer}}.json",
    log:
        "results/logs/measure_curves/{net}/seed{seed}/{layer}.log",
    benchmark:
        "results/benchmarks/measure_curves/{net}/seed{seed}/{layer}.tsv"
    group:
        group_of
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=gpus("measure_curves"),
        gpu_slots=GPU_SLOTS,
        store=STORE,
        found=found("measure_curves"),
        total=count("measure_curves"),
        call_mb=CALL_MB,
    params:
        tasks=tasks("measure_curves"),
        network=network_of,
        images=config["curves"]["images"],
        validation=config["splits"]["validation"],
        device=config["device"],
    message:
        "Measuring removal curves of layer {wildcards.layer} of {wildcards.net}, seed {wildcards.seed}: "
        "{resources.found} of {resources.total} restored, gpu={resources.gpu}"
    script:
        "../scripts/measure_curves.py"


rule evaluate_pruned:
    """Measure the low-data networks after each step."""
    input:
        data=data_of,
        model=f"{RUN}/model.safetensors",
        pruned=expand(f"{RUN}/pruned/{{criterion}}", criterion=config["low_data"]["criteria"], allow_missing=True),
    output:
        table=f"{RUN}/low_data.csv",
        manifest=f"{RUN}/low_data.json",
    log:
        "results/logs/evaluate_pruned/{net}/seed{seed}.log",
    benchmark:
        "results/benchmarks/evaluate_pruned/{net}/seed{seed}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=gpus("evaluate_pruned"),
        gpu_slots=GPU_SLOTS,
        store=STORE,
        found=found("evaluate_pruned"),
        total=count("evaluate_pruned"),
        call_mb=CALL_MB,
    params:
        tasks=tasks("evaluate_pruned"),
        network=network_of,
        test_images=config["low_data"]["test_images"],
        validation=config["splits"]["validation"],
        device=config["device"],
    message:
        "Evaluating the pruned networks of {wildcards.net}, seed {wildcards.seed}: "
        "{resources.found} of {resources.total} restored, gpu={resources.gpu}"
    script:
        "../scripts/evaluate_pruned.py"


localrules:
    write_config,
    collect_tables,


rule write_config:
    """The configuration as it was used, with all defaults."""
    output:
        report(
            "results/run_config.yaml",
            caption="../report/config.rst",
            category="Study",
            labels={"table": "Configuration"},
        ),
    log:
        "results/logs/write_config.log",
    conda:
        "../envs/plots.yaml"
    params:
        config=config,
        digest=study.digest(config),
    message:
        "Writing down the configuration"
    script:
        "../scripts/write_config.py"


rule collect_tables:
    """All tables of the study."""
    input:
        manifests=runs(f"{RUN}/model.json"),
        training=runs(f"{RUN}/training.csv"),
        scores=runs(HEURISTIC_SCORES) + layers(WALK_SCORES),
        curves=layers(f"{RUN}/curves/{{layer}}.csv"),
        overlaps=small_layers(f"{RUN}/oracle/overlaps/{{layer}}.csv"),
        estimators=compared_layers(f"{RUN}/estimators/{{layer}}.csv"),
        low_data=runs(f"{RUN}/low_data.csv"),
        fine_tune=runs(f"{RUN}/fine_tuned/{{criterion}}.csv", criterion=FINE_TUNED),
        untrained=runs(f"{RUN}/untrained.csv", UNTRAINED),
        compress=compressed(),
    output:
        networks=table("networks", "Networks"),
        training="results/tables/training.csv",
        scores="results/tables/scores.csv",
        curves="results/tables/curves.csv",
        auc=table("auc", "Areas under removal curves"),
        oracle=table("oracle", "Oracle sets"),
        estimators=table("estimators", "Estimators"),
        low_data=table("low_data", "Low data"),
        fine_tune=table("fine_tune", "Fine-tuning"),
        untrained=table("untrained", "Untrained networks"),
        compress=table("compress", "Compressed networks"),
        timing="results/tables/timing.csv",
    log:
        "results/logs/collect_tables.log",
    conda:
        "../envs/torch.yaml"
    params:
        criteria=CRITERIA,
        expected=PLAN.expected(),
    message:
        "Collecting tables"
    script:
        "../scripts/collect_tables.py"
