"""Pruned networks trained again: those of the low-data protocol, and networks that lose units of all layers at once.

REQUIRED INPUTS
    results/{net}/seed{seed}/model.safetensors, pruned/, scores/, and results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/fine_tuned/{criterion}.csv    what training with more or less data makes of the low-data
        networks; .json beside it
    results/{net}/seed{seed}/compressed/{criterion}/{aggregate}/{target}.safetensors
        the network that is left, trained again; .json beside it: the units kept, size, accuracy before and after
"""


rule fine_tune_pruned:
    """Train the low-data networks of a criterion again, with more or less data."""
    input:
        data=data_of,
        model=f"{RUN}/model.safetensors",
        pruned=f"{RUN}/pruned/{{criterion}}",
    output:
        table=f"{RUN}/fine_tuned/{{criterion}}.csv",
        manifest=f"{RUN}/fine_tuned/{{criterion}}.json",
    log:
        "results/logs/fine_tune_pruned/{net}/seed{seed}/{criterion}.log",
    benchmark:
        "results/benchmarks/fine_tune_pruned/{net}/seed{seed}/{criterion}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=gpus("fine_tune_pruned"),
        gpu_slots=GPU_SLOTS,
        store=STORE,
        found=found("fine_tune_pruned"),
        total=count("fine_tune_pruned"),
        call_mb=CALL_MB,
    params:
        tasks=tasks("fine_tune_pruned"),
        network=network_of,
        train=config["fine_tune"]["train"],
        test_images=config["low_data"]["test_images"],
        validation=config["splits"]["validation"],
        device=config["device"],
    message:
        "Fine-tuning what {wildcards.criterion} left of {wildcards.net}, seed {wildcards.seed}: "
        "{resources.found} of {resources.total} restored, gpu={resources.gpu}"
    script:
        "../scripts/fine_tune_pruned.py"


rule compress_network:
    """Remove units of all layers at once, by the scores of a criterion, and train what is left."""
    input:
        data=data_of,
        model=f"{RUN}/model.safetensors",
        scores=scores_by,
    output:
        directory(f"{RUN}/compressed/{{criterion}}"),
    log:
        "results/logs/compress_network/{net}/seed{seed}/{criterion}.log",
    benchmark:
        "results/benchmarks/compress_network/{net}/seed{seed}/{criterion}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=gpus("compress_network"),
        gpu_slots=GPU_SLOTS,
        store=STORE,
        found=found("compress_network"),
        total=count("compress_network"),
        call_mb=CALL_MB,
    params:
        tasks=tasks("compress_network"),
        network=network_of,
        layers=lambda wildcards: list(layers_of(wildcards)),
        train=config["compress"]["train"],
        validation=config["splits"]["validation"],
        device=config["device"],
    message:
        "Compressing {wildcards.net}, seed {wildcards.seed}, by {wildcards.criterion}: "
        "{resources.found} of {resources.total} restored, gpu={resources.gpu}"
    script:
        "../scripts/compress_network.py"
