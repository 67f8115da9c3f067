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
        **outputs("prune_untrained"),
    log:
        "results/logs/prune_untrained/{net}/seed{seed}.log",
    benchmark:
        benchmark_of("prune_untrained")
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("prune_untrained"),
    params:
        **given("prune_untrained"),
    message:
        message_of("prune_untrained", "Pruning {wildcards.net}, seed {wildcards.seed}, which was never trained")
    script:
        "../scripts/prune_untrained.py"
