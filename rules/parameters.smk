"""What scores of parameters are used for: units that are deactivated, and weights of few bits.

REQUIRED INPUTS
    results/{net}/seed{seed}/model.safetensors, scores/, and results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/deactivated.csv    loss and accuracy with the lowest units of every layer at zero; .json
        beside it
    results/{net}/seed{seed}/quantised/{method}/bits{bits}/trial{trial}.safetensors
        codes and scales of the weights, and all else of the network; .json beside it: size, loss and accuracy
"""


rule deactivate_units:
    """Set the lowest units of every layer to zero, by the scores of each criterion."""
    input:
        consumed("deactivate_units"),
        data=data_of,
    output:
        **outputs("deactivate_units"),
    log:
        "results/logs/deactivate_units/{net}/seed{seed}.log",
    benchmark:
        benchmark_of("deactivate_units")
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("deactivate_units"),
    params:
        **given("deactivate_units"),
    message:
        message_of("deactivate_units", "Deactivating units of {wildcards.net}, seed {wildcards.seed}")
    script:
        "../scripts/deactivate_units.py"


rule quantise_network:
    """Quantise the weights of a network by each method."""
    input:
        consumed("quantise_network"),
        data=data_of,
    output:
        **outputs("quantise_network"),
    log:
        "results/logs/quantise_network/{net}/seed{seed}.log",
    benchmark:
        benchmark_of("quantise_network")
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("quantise_network"),
    params:
        **given("quantise_network"),
    message:
        message_of("quantise_network", "Quantising {wildcards.net}, seed {wildcards.seed}")
    script:
        "../scripts/quantise_network.py"
