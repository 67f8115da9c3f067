"""Scores of the units of every layer.

REQUIRED INPUTS
    results/{net}/seed{seed}/model.safetensors, results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/scores/{criterion}/{layer}/trial{trial}.npz     arrays; .json beside it: cost, error, device

Criteria that need a pass or two are computed for all layers in one job; those that walk through coalitions have a job
(and a GPU) for each layer.
"""

if HEURISTICS:

    rule score_layers:
        """Score all layers of a network by the criteria that need a pass or two."""
        input:
            data=data_of,
            model=f"{RUN}/model.safetensors",
        output:
            directory(HEURISTIC_SCORES),
        log:
            "results/logs/score_layers/{net}/seed{seed}.log",
        benchmark:
            "results/benchmarks/score_layers/{net}/seed{seed}.tsv"
        conda:
            "../envs/torch.yaml"
        resources:
            gpu=gpus("score_layers"),
            gpu_slots=GPU_SLOTS,
            store=STORE,
            found=found("score_layers"),
            total=count("score_layers"),
            call_mb=CALL_MB,
        params:
            tasks=tasks("score_layers"),
            network=network_of,
            layers=lambda wildcards: list(layers_of(wildcards)),
            criteria=HEURISTICS,
            scoring=config["scoring"],
            validation=config["splits"]["validation"],
            device=config["device"],
        message:
            f"Scoring all layers of {{wildcards.net}}, seed {{wildcards.seed}}: {{resources.found}} of {{resources.total}} restored, gpu={{resources.gpu}}"
        script:
            "../scripts/score_layers.py"


if WALKS:

    rule score_layer:
        """Score one layer by the criteria that walk through coalitions."""
        input:
            data=data_of,
            model=f"{RUN}/model.safetensors",
        output:
            directory(WALK_SCORES),
        log:
            "results/logs/score_layer/{net}/seed{seed}/{layer}.log",
        benchmark:
            "results/benchmarks/score_layer/{net}/seed{seed}/{layer}.tsv"
        group:
            group_of
        conda:
            "../envs/torch.yaml"
        resources:
            gpu=gpus("score_layer"),
            gpu_slots=GPU_SLOTS,
            store=STORE,
            found=found("score_layer"),
            total=count("score_layer"),
            call_mb=CALL_MB,
        params:
            tasks=tasks("score_layer"),
            network=network_of,
            criteria=WALKS,
            scoring=config["scoring"],
            validation=config["splits"]["validation"],
            device=config["device"],
        message:
            f"Scoring layer {{wildcards.layer}} of {{wildcards.net}}, seed {{wildcards.seed}}: {{resources.found}} of {{resources.total}} restored, gpu={{resources.gpu}}"
        script:
            "../scripts/score_layer.py"
