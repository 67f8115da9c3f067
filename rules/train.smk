"""Networks, trained by a recipe or loaded from weights.

REQUIRED INPUTS
    results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/model.safetensors     weights; model.json beside it: sizes, accuracies, recipe, device
    results/{net}/seed{seed}/training.csv          one row an epoch
"""


rule train_network:
    """Train a network by its recipe, or take its weights."""
    input:
        data=data_of,
        weights=weights_of,
    output:
        **outputs("train_network"),
    log:
        "results/logs/train_network/{net}/seed{seed}.log",
    benchmark:
        benchmark_of("train_network")
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("train_network"),
    params:
        **given("train_network"),
    message:
        message_of("train_network", "Training {wildcards.net}, seed {wildcards.seed}")
    script:
        "../scripts/train_network.py"
