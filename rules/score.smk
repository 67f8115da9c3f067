"""Scores of the units of every layer.

REQUIRED INPUTS
    results/{net}/seed{seed}/model.safetensors, results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/scores/{criterion}/{layer}/trial{trial}.npz     arrays; .json beside it: cost, error, device

Criteria that need a pass or two are computed for all layers in one job; those that walk through coalitions have a job
(and a GPU) for each layer.
"""

if PLAN.stages["score_layers"].criteria:

    rule score_layers:
        """Score all layers of a network by the criteria that need a pass or two."""
        input:
            consumed("score_layers"),
            data=data_of,
        output:
            **outputs("score_layers"),
        log:
            "results/logs/score_layers/{net}/seed{seed}.log",
        benchmark:
            benchmark_of("score_layers")
        conda:
            "../envs/torch.yaml"
        resources:
            **stored("score_layers"),
        params:
            **given("score_layers"),
        message:
            message_of("score_layers", "Scoring all layers of {wildcards.net}, seed {wildcards.seed}")
        script:
            "../scripts/score_layers.py"


if PLAN.stages["score_layer"].criteria:

    rule score_layer:
        """Score one layer by the criteria that walk through coalitions."""
        input:
            consumed("score_layer"),
            data=data_of,
        output:
            **outputs("score_layer"),
        log:
            "results/logs/score_layer/{net}/seed{seed}/{layer}.log",
        benchmark:
            benchmark_of("score_layer")
        group:
            group_of
        conda:
            "../envs/torch.yaml"
        resources:
            **stored("score_layer"),
        params:
            **given("score_layer"),
        message:
            message_of("score_layer", "Scoring layer {wildcards.layer} of {wildcards.net}, seed {wildcards.seed}")
        script:
            "../scripts/score_layer.py"
