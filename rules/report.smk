"""The headline of the study: which criterion did best, in what, and how well.

REQUIRED INPUTS
    results/tables/*.csv, results/{net}/seed{seed}/pruned/
OUTPUTS
    results/tables/headline.csv    a row a network and question
    results/headline.rst           the same as the table on the report's first page
    results/headline.txt           the same as `make report` prints it
"""


localrules:
    write_headline,


rule write_headline:
    """Write the headline of the study."""
    input:
        networks="results/tables/networks.csv",
        auc="results/tables/auc.csv",
        low_data="results/tables/low_data.csv",
        fine_tune="results/tables/fine_tune.csv",
        compress="results/tables/compress.csv",
        budgets="results/tables/budgets.csv",
        retrained="results/tables/retrained.csv",
        deactivated="results/tables/deactivated.csv",
        quantised="results/tables/quantised.csv",
        untrained="results/tables/untrained.csv",
        timing="results/tables/timing.csv",
        pruned=[*results("prune_layers"), *results("prune_by_walks")],
    output:
        table=table("headline", "Headline"),
        page="results/headline.rst",
        text="results/headline.txt",
    log:
        "results/logs/write_headline.log",
    conda:
        "../envs/plots.yaml"
    params:
        criteria=CRITERIA,
        study=config["study"],
    message:
        "Writing the headline"
    script:
        "../scripts/write_headline.py"
