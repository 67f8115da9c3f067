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
        model=ensure(f"{RUN}/model.safetensors", non_empty=True),
        manifest=f"{RUN}/model.json",
        training=f"{RUN}/training.csv",
    log:
        "results/logs/train_network/{net}/seed{seed}.log",
    benchmark:
        "results/benchmarks/train_network/{net}/seed{seed}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=gpus("train_network"),
        gpu_slots=GPU_SLOTS,
        store=STORE,
        found=found("train_network"),
        total=count("train_network"),
    params:
        tasks=tasks("train_network"),
        network=network_of,
        validation=config["splits"]["validation"],
        device=config["device"],
    message:
        "Training {wildcards.net}, seed {wildcards.seed}: {resources.found} of {resources.total} restored, gpu={resources.gpu}"
    script:
        "../scripts/train_network.py"
