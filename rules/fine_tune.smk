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
        consumed("fine_tune_pruned"),
        data=data_of,
    output:
        **outputs("fine_tune_pruned"),
    log:
        "results/logs/fine_tune_pruned/{net}/seed{seed}/{criterion}.log",
    benchmark:
        benchmark_of("fine_tune_pruned")
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("fine_tune_pruned"),
    params:
        **given("fine_tune_pruned"),
    message:
        message_of(
            "fine_tune_pruned", "Fine-tuning what {wildcards.criterion} left of {wildcards.net}, seed {wildcards.seed}"
        )
    script:
        "../scripts/fine_tune_pruned.py"


rule compress_network:
    """Remove units of all layers at once, by the scores of a criterion, and train what is left."""
    input:
        consumed("compress_network"),
        data=data_of,
    output:
        **outputs("compress_network"),
    log:
        "results/logs/compress_network/{net}/seed{seed}/{criterion}.log",
    benchmark:
        benchmark_of("compress_network")
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("compress_network"),
    params:
        **given("compress_network"),
    message:
        message_of("compress_network", "Compressing {wildcards.net}, seed {wildcards.seed}, by {wildcards.criterion}")
    script:
        "../scripts/compress_network.py"
