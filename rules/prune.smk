"""Networks pruned layer by layer with little data.

REQUIRED INPUTS
    results/{net}/seed{seed}/model.safetensors, results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/pruned/{criterion}/{aggregate}/ratio{ratio}/trial{trial}.safetensors
        the network that is left; .json beside it: the steps, the units kept, the scoring images
"""


rule prune_layers:
    """Prune a network layer by layer with little data, by one criterion."""
    input:
        data=data_of,
        model=f"{RUN}/model.safetensors",
    output:
        directory(f"{RUN}/pruned/{{criterion}}"),
    log:
        "results/logs/prune_layers/{net}/seed{seed}/{criterion}.log",
    benchmark:
        "results/benchmarks/prune_layers/{net}/seed{seed}/{criterion}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=gpus("prune_layers"),
        gpu_slots=GPU_SLOTS,
        store=STORE,
        found=found("prune_layers"),
        total=count("prune_layers"),
        call_mb=CALL_MB,
    params:
        tasks=tasks("prune_layers"),
        steps=tasks("steps"),
        network=network_of,
        layers=pruned_layers,
        criterion=lambda wildcards: CRITERIA[wildcards.criterion],
        images=config["low_data"]["images"],
        scoring=PLAN.rules,
        validation=config["splits"]["validation"],
        device=config["device"],
    message:
        "Pruning {wildcards.net}, seed {wildcards.seed}, with little data by {wildcards.criterion}: "
        "{resources.found} of {resources.total} restored, gpu={resources.gpu}"
    script:
        "../scripts/prune_layers.py"
