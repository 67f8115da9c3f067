"""Networks that were never trained, without the units that score below zero.

REQUIRED INPUTS
    results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/untrained.csv     loss, accuracy and size after each step; .json beside it
"""


rule prune_untrained:
    """Remove the units of an untrained network that score below zero, layer by layer."""
    input:
        data=data_of,
    output:
        table=f"{RUN}/untrained.csv",
        manifest=f"{RUN}/untrained.json",
    log:
        "results/logs/prune_untrained/{net}/seed{seed}.log",
    benchmark:
        "results/benchmarks/prune_untrained/{net}/seed{seed}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=gpus("prune_untrained"),
        gpu_slots=GPU_SLOTS,
        store=STORE,
        found=found("prune_untrained"),
        total=count("prune_untrained"),
        call_mb=CALL_MB,
    params:
        tasks=tasks("prune_untrained"),
        network=network_of,
        layers=lambda wildcards: list(layers_of(wildcards)),
        criteria={name: CRITERIA[name] for name in config["untrained"]["criteria"]},
        images=config["untrained"]["images"],
        scoring=PLAN.rules,
        device=config["device"],
    message:
        "Pruning {wildcards.net}, seed {wildcards.seed}, which was never trained: "
        "{resources.found} of {resources.total} restored, gpu={resources.gpu}"
    script:
        "../scripts/prune_untrained.py"
