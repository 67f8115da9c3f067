"""Networks pruned layer by layer with little data.

REQUIRED INPUTS
    results/{net}/seed{seed}/model.safetensors, results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/pruned/{criterion}/{aggregate}/ratio{ratio}/trial{trial}.safetensors
        the network that is left; .json beside it: the steps, the units kept, the scoring images and which part they are of

Criteria that need a pass or two share a job for each network; those that walk through coalitions have a job (and a GPU)
each.
"""

if PLAN.stages["prune_layers"].criteria:

    rule prune_layers:
        """Prune a network layer by layer with little data, by the criteria that need a pass or two."""
        input:
            consumed("prune_layers"),
            data=data_of,
        output:
            **outputs("prune_layers"),
        log:
            "results/logs/prune_layers/{net}/seed{seed}.log",
        benchmark:
            benchmark_of("prune_layers")
        conda:
            "../envs/torch.yaml"
        resources:
            **stored("prune_layers"),
        params:
            **given("prune_layers"),
        message:
            message_of("prune_layers", "Pruning {wildcards.net}, seed {wildcards.seed}, with little data")
        script:
            "../scripts/prune_layers.py"


if PLAN.stages["prune_by_walks"].criteria:

    rule prune_by_walks:
        """Prune a network layer by layer with little data, by one criterion that walks through coalitions."""
        input:
            consumed("prune_by_walks"),
            data=data_of,
        output:
            **outputs("prune_by_walks"),
        log:
            "results/logs/prune_by_walks/{net}/seed{seed}/{criterion}.log",
        benchmark:
            benchmark_of("prune_by_walks")
        wildcard_constraints:
            criterion="|".join(PLAN.stages["prune_by_walks"].criteria),
        conda:
            "../envs/torch.yaml"
        resources:
            **stored("prune_by_walks"),
        params:
            **given("prune_by_walks"),
        message:
            message_of(
                "prune_by_walks",
                "Pruning {wildcards.net}, seed {wildcards.seed}, with little data by {wildcards.criterion}",
            )
        script:
            "../scripts/prune_layers.py"
