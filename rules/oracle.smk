"""The truth about small layers: all coalitions, and how near each criterion comes to the best sets.

REQUIRED INPUTS
    results/{net}/seed{seed}/model.safetensors and scores/, results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/oracle/{layer}.npz           the value of every coalition; .json beside it: oracle sets
    results/{net}/seed{seed}/oracle/overlaps/{layer}.csv   each criterion's order against the oracle sets, by size
"""


rule tabulate_coalitions:
    """Value every coalition of a small layer."""
    input:
        consumed("tabulate_coalitions"),
        data=data_of,
    output:
        **outputs("tabulate_coalitions"),
    log:
        "results/logs/tabulate_coalitions/{net}/seed{seed}/{layer}.log",
    benchmark:
        benchmark_of("tabulate_coalitions")
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("tabulate_coalitions"),
    params:
        **given("tabulate_coalitions"),
    message:
        message_of(
            "tabulate_coalitions",
            "Valuing all coalitions of layer {wildcards.layer} of {wildcards.net}, seed {wildcards.seed}",
        )
    script:
        "../scripts/tabulate_coalitions.py"


rule search_oracle:
    """Compare the criteria with the oracle sets of a layer."""
    input:
        consumed("search_oracle"),
    output:
        **outputs("search_oracle"),
    log:
        "results/logs/search_oracle/{net}/seed{seed}/{layer}.log",
    benchmark:
        benchmark_of("search_oracle")
    group:
        group_of
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("search_oracle"),
    params:
        **given("search_oracle"),
    message:
        message_of(
            "search_oracle",
            "Comparing criteria with the oracle sets of layer {wildcards.layer} of {wildcards.net}, seed {wildcards.seed}",
        )
    script:
        "../scripts/search_oracle.py"
