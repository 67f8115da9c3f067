"""Networks that fit budgets, made with few training images without labels.

REQUIRED INPUTS
    results/{net}/seed{seed}/model.safetensors, results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/budgets/{method}/{measure}{budget}/trial{trial}.safetensors
        the network that is left; .json beside it: the units kept, cost, agreement, accuracy, the calibration images
    results/{net}/seed{seed}/retrained/{method}/{measure}{budget}/trial{trial}.safetensors
        the same trained on, where that is asked for; .json beside it: loss and accuracy before and after
    results/{net}/seed{seed}/onnx/{method}/{measure}{budget}/trial{trial}.onnx
        the same as ONNX, where that is asked for
"""


rule fit_budgets:
    """Make a network fit each budget by one method."""
    input:
        consumed("fit_budgets"),
        data=data_of,
    output:
        **outputs("fit_budgets"),
    log:
        "results/logs/fit_budgets/{net}/seed{seed}/{method}.log",
    benchmark:
        benchmark_of("fit_budgets")
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("fit_budgets"),
    params:
        **given("fit_budgets"),
    message:
        message_of("fit_budgets", "Fitting {wildcards.net}, seed {wildcards.seed}, to budgets by {wildcards.method}")
    script:
        "../scripts/fit_budgets.py"


rule retrain_budgets:
    """Train the networks that fit budgets, of one method, on."""
    input:
        consumed("retrain_budgets"),
        data=data_of,
    output:
        **outputs("retrain_budgets"),
    log:
        "results/logs/retrain_budgets/{net}/seed{seed}/{method}.log",
    benchmark:
        benchmark_of("retrain_budgets")
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("retrain_budgets"),
    params:
        **given("retrain_budgets"),
    message:
        message_of(
            "retrain_budgets", "Training on what {wildcards.method} left of {wildcards.net}, seed {wildcards.seed}"
        )
    script:
        "../scripts/retrain_budgets.py"


rule export_budgets:
    """Write the networks that fit budgets, of one method, as ONNX files."""
    input:
        consumed("export_budgets"),
        data=data_of,
    output:
        **outputs("export_budgets"),
    log:
        "results/logs/export_budgets/{net}/seed{seed}/{method}.log",
    benchmark:
        benchmark_of("export_budgets")
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("export_budgets"),
    params:
        **given("export_budgets"),
    message:
        message_of("export_budgets", "Exporting what {wildcards.method} left of {wildcards.net}, seed {wildcards.seed}")
    script:
        "../scripts/export_budgets.py"
