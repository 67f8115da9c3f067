"""How far estimators of Shapley values are from the truth, and whether that matters for pruning.

REQUIRED INPUTS
    results/{net}/seed{seed}/model.safetensors and, of small layers, oracle/{layer}.npz; results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/estimators/{layer}.csv    every estimator in each of its sizes, repeated; .json beside it
"""


rule study_estimators:
    """Repeat estimators of Shapley values in a layer and compare them with the truth."""
    input:
        consumed("study_estimators"),
        data=data_of,
    output:
        **outputs("study_estimators"),
    log:
        "results/logs/study_estimators/{net}/seed{seed}/{layer}.log",
    benchmark:
        benchmark_of("study_estimators")
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("study_estimators"),
    params:
        **given("study_estimators"),
    message:
        message_of(
            "study_estimators",
            "Testing estimators in layer {wildcards.layer} of {wildcards.net}, seed {wildcards.seed}",
        )
    script:
        "../scripts/study_estimators.py"
