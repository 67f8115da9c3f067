"""Networks pruned layer by layer with little data.

REQUIRED INPUTS
    results/{net}/seed{seed}/model.safetensors, results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/pruned/{criterion}/{aggregate}/ratio{ratio}/trial{trial}.safetensors
        the network that is left; .json beside it: the steps, the units kept, the scoring images and which part they are of
"""


rule prune_layers:
    """Prune a network layer by layer with little data, by one criterion."""
    input:
        consumed("prune_layers"),
        data=data_of,
    output:
        **outputs("prune_layers"),
    log:
        "results/logs/prune_layers/{net}/seed{seed}/{criterion}.log",
    benchmark:
        benchmark_of("prune_layers")
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("prune_layers"),
    params:
        **given("prune_layers"),
    message:
        message_of(
            "prune_layers", "Pruning {wildcards.net}, seed {wildcards.seed}, with little data by {wildcards.criterion}"
        )
    script:
        "../scripts/prune_layers.py"
