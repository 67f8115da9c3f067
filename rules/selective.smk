"""Networks of which only the units of the highest scores were trained on.

REQUIRED INPUTS
    results/{net}/seed{seed}/model.safetensors, scores/, and results/data/{data}.npz
OUTPUTS
    results/{net}/seed{seed}/tuned/{method}.csv    loss and accuracy before and after, at each learning rate; .json
        beside it
"""


rule tune_units:
    """Train the units on that a method selects."""
    input:
        consumed("tune_units"),
        data=data_of,
        tuned_on=tuned_data_of,
    output:
        **outputs("tune_units"),
    log:
        "results/logs/tune_units/{net}/seed{seed}/{method}.log",
    benchmark:
        benchmark_of("tune_units")
    conda:
        "../envs/torch.yaml"
    resources:
        **stored("tune_units"),
    params:
        **given("tune_units"),
    message:
        message_of("tune_units", "Tuning units of {wildcards.net}, seed {wildcards.seed}, by {wildcards.method}")
    script:
        "../scripts/tune_units.py"
