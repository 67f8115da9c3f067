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
        data=data_of,
        model=f"{RUN}/model.safetensors",
    output:
        table=ensure(f"{RUN}/oracle/{{layer}}.npz", non_empty=True),
        manifest=f"{RUN}/oracle/{{layer}}.json",
    log:
        "results/logs/tabulate_coalitions/{net}/seed{seed}/{layer}.log",
    benchmark:
        "results/benchmarks/tabulate_coalitions/{net}/seed{seed}/{layer}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=gpus("tabulate_coalitions"),
        gpu_slots=GPU_SLOTS,
        store=STORE,
        found=found("tabulate_coalitions"),
        total=count("tabulate_coalitions"),
        call_mb=CALL_MB,
    params:
        tasks=tasks("tabulate_coalitions"),
        network=network_of,
        images=config["oracle"]["images"],
        scoring=config["scoring"],
        validation=config["splits"]["validation"],
        device=config["device"],
    message:
        "Valuing all coalitions of layer {wildcards.layer} of {wildcards.net}, seed {wildcards.seed}: "
        "{resources.found} of {resources.total} restored, gpu={resources.gpu}"
    script:
        "../scripts/tabulate_coalitions.py"


rule search_oracle:
    """Compare the criteria with the oracle sets of a layer."""
    input:
        model=f"{RUN}/model.safetensors",
        table=f"{RUN}/oracle/{{layer}}.npz",
        manifest=f"{RUN}/oracle/{{layer}}.json",
        scores=scores_of,
    output:
        overlap=f"{RUN}/oracle/overlaps/{{layer}}.csv",
        manifest=f"{RUN}/oracle/overlaps/{{layer}}.json",
    log:
        "results/logs/search_oracle/{net}/seed{seed}/{layer}.log",
    benchmark:
        "results/benchmarks/search_oracle/{net}/seed{seed}/{layer}.tsv"
    group:
        group_of
    conda:
        "../envs/torch.yaml"
    resources:
        store=STORE,
        found=found("search_oracle"),
        total=count("search_oracle"),
    params:
        tasks=tasks("search_oracle"),
    message:
        "Comparing criteria with the oracle sets of layer {wildcards.layer} of {wildcards.net}, seed {wildcards.seed}: "
        "{resources.found} of {resources.total} restored"
    script:
        "../scripts/search_oracle.py"
