"""Probes: what linear classifiers tell from the activations of the units of the highest scores.

REQUIRED INPUTS
    results/{net}/seed{seed}/model.safetensors, scores/, and results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/probed.csv    accuracy of each probe, layer by layer and together; .json beside it
"""


rule probe_units:
    """Fit probes to the activations of the units that criteria choose."""
    input:
        consumed("probe_units"),
        data=data_of,
    output:
        **outputs("probe_units"),
    log:
        "results/logs/probe_units/{net}/seed{seed}.log",
    benchmark:
        benchmark_of("probe_units")
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("probe_units"),
    params:
        **given("probe_units"),
    message:
        message_of("probe_units", "Probing units of {wildcards.net}, seed {wildcards.seed}")
    script:
        "../scripts/probe_units.py"
