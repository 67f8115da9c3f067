"""How far estimators of Shapley values are from the truth, and whether that matters for pruning.

REQUIRED INPUTS
    results/{net}/seed{seed}/model.safetensors and, of small layers, oracle/{layer}.npz; results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/estimators/{layer}.csv    every estimator in each of its sizes, repeated; .json beside it
"""


rule study_estimators:
    """Repeat estimators of Shapley values in a layer and compare them with the truth."""
    input:
        data=data_of,
        model=f"{RUN}/model.safetensors",
        table=tables_of,
    output:
        errors=f"{RUN}/estimators/{{layer}}.csv",
        manifest=f"{RUN}/estimators/{{layer}}.json",
    log:
        "results/logs/study_estimators/{net}/seed{seed}/{layer}.log",
    benchmark:
        "results/benchmarks/study_estimators/{net}/seed{seed}/{layer}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=gpus("study_estimators"),
        gpu_slots=GPU_SLOTS,
        store=STORE,
        found=found("study_estimators"),
        total=count("study_estimators"),
        call_mb=CALL_MB,
    params:
        tasks=tasks("study_estimators"),
        network=network_of,
        estimators=config["estimators"]["compared"],
        images=config["oracle"]["images"],
        curve_images=config["curves"]["images"],
        converged=config["estimators"]["converged"],
        scoring=config["scoring"],
        validation=config["splits"]["validation"],
        device=config["device"],
    message:
        "Testing estimators in layer {wildcards.layer} of {wildcards.net}, seed {wildcards.seed}: "
        "{resources.found} of {resources.total} restored, gpu={resources.gpu}"
    script:
        "../scripts/study_estimators.py"
