"""What removing units costs, and the tables of the study.

REQUIRED INPUTS
    results/{net}/seed{seed}/model.safetensors, scores/, pruned/, oracle/, and results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/curves/{layer}.csv    loss and accuracy along each criterion's removal order
    results/{net}/seed{seed}/low_data.csv          loss, accuracy and size after each step of the low-data protocol
    results/tables/*.csv                           everything of one kind in one table
    results/run_config.yaml                        the configuration as it was used, defaults filled in
"""


rule measure_curves:
    """Measure loss and accuracy along the removal orders of a layer."""
    input:
        consumed("measure_curves"),
        data=data_of,
    output:
        **outputs("measure_curves"),
    log:
        "results/logs/measure_curves/{net}/seed{seed}/{layer}.log",
    benchmark:
        benchmark_of("measure_curves")
    group:
        group_of
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("measure_curves"),
    params:
        **given("measure_curves"),
    message:
        message_of(
            "measure_curves",
            "Measuring removal curves of layer {wildcards.layer} of {wildcards.net}, seed {wildcards.seed}",
        )
    script:
        "../scripts/measure_curves.py"


rule evaluate_pruned:
    """Measure the low-data networks after each step."""
    input:
        consumed("evaluate_pruned"),
        data=data_of,
    output:
        **outputs("evaluate_pruned"),
    log:
        "results/logs/evaluate_pruned/{net}/seed{seed}.log",
    benchmark:
        benchmark_of("evaluate_pruned")
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("evaluate_pruned"),
    params:
        **given("evaluate_pruned"),
    message:
        message_of("evaluate_pruned", "Evaluating the pruned networks of {wildcards.net}, seed {wildcards.seed}")
    script:
        "../scripts/evaluate_pruned.py"


localrules:
    write_config,
    collect_tables,


rule write_config:
    """The configuration as it was used, with all defaults."""
    output:
        report(
            "results/run_config.yaml",
            caption="../report/config.rst",
            category="Study",
            labels={"table": "Configuration"},
        ),
    log:
        "results/logs/write_config.log",
    conda:
        "../envs/plots.yaml"
    params:
        config=config,
        digest=study.digest(config),
    message:
        "Writing down the configuration"
    script:
        "../scripts/write_config.py"


rule collect_tables:
    """All tables of the study."""
    input:
        **{name: PLAN.made_for(name) for name in registry.TABLES},
    output:
        **{name: table(name) for name in registry.TABLES},
        timing="results/tables/timing.csv",
    log:
        "results/logs/collect_tables.log",
    conda:
        "../envs/torch.yaml"
    params:
        tables=registry.TABLES,
        criteria=CRITERIA,
        expected=PLAN.expected,
        timed=list(timed()),
    message:
        "Collecting tables"
    script:
        "../scripts/collect_tables.py"
