"""Figures of each network, as SVG (in the report) and PNG.

REQUIRED INPUTS
    results/tables/*.csv
OUTPUTS
    results/figures/{net}/training.svg         loss and accuracy along the training, where there was one
    results/figures/{net}/scores.svg           the units as the criteria rank them
    results/figures/{net}/curves_loss.svg      removal curves, curves_accuracy.svg beside it
    results/figures/{net}/auc.svg              areas under the removal curves; auc_layers.svg: layer by layer
    results/figures/{net}/oracle.svg           criteria against the oracle sets, where there are small layers;
                                               oracle_accuracy.svg: what they leave
    results/figures/{net}/estimators_cost.svg  error of estimators against their cost; estimators_pruning.svg: and how
                                               well they prune
    results/figures/{net}/low_data_steps_loss.svg   pruning with little data; low_data_steps_accuracy.svg beside it
    results/figures/{net}/low_data_final_loss.svg   the networks that are left; low_data_final_accuracy.svg beside it
    results/figures/{net}/fine_tune.svg        those networks trained again with more or less data, where it is asked for
    results/figures/{net}/compress.svg         networks that lost units of all layers at once, where it is asked for
    results/figures/{net}/untrained.svg        an untrained network without the units that score below zero
"""

from shapprune.data.sets import DATASETS


localrules:
    plot_training,
    plot_scores,
    plot_curves,
    plot_auc,
    plot_oracle,
    plot_estimators,
    plot_low_data,
    plot_fine_tune,
    plot_compress,
    plot_untrained,


rule plot_training:
    """Draw the training of a network."""
    input:
        table="results/tables/training.csv",
    output:
        drawing("training", "training", "Training", figure="Training curves"),
        "results/figures/{net}/training.png",
    log:
        "results/logs/plot_training/{net}.log",
    conda:
        "../envs/plots.yaml"
    message:
        "Drawing the training of {wildcards.net}"
    script:
        "../scripts/plot_training.py"


rule plot_scores:
    """Draw the units of a network as the criteria rank them."""
    input:
        table="results/tables/scores.csv",
    output:
        drawing("scores", "scores", "Scores", figure="Ranks of units"),
        "results/figures/{net}/scores.png",
    log:
        "results/logs/plot_scores/{net}.log",
    conda:
        "../envs/plots.yaml"
    params:
        criteria=CRITERIA,
    message:
        "Drawing the scores of {wildcards.net}"
    script:
        "../scripts/plot_scores.py"


rule plot_curves:
    """Draw the removal curves of a network."""
    input:
        table="results/tables/curves.csv",
    output:
        "results/figures/{net}/curves_loss.png",
        "results/figures/{net}/curves_accuracy.png",
        loss=drawing("curves_loss", "curves", "Removal curves", figure="Layer by layer", measure="loss"),
        accuracy=drawing("curves_accuracy", "curves", "Removal curves", figure="Layer by layer", measure="accuracy"),
    log:
        "results/logs/plot_curves/{net}.log",
    conda:
        "../envs/plots.yaml"
    params:
        criteria=CRITERIA,
    message:
        "Drawing the removal curves of {wildcards.net}"
    script:
        "../scripts/plot_curves.py"


rule plot_auc:
    """Draw the areas under the removal curves."""
    input:
        table="results/tables/auc.csv",
    output:
        "results/figures/{net}/auc.png",
        "results/figures/{net}/auc_layers.png",
        all=drawing("auc", "auc", "Areas under the curves", figure="All layers"),
        layers=drawing("auc_layers", "auc_layers", "Areas under the curves", figure="Layer by layer"),
    log:
        "results/logs/plot_auc/{net}.log",
    conda:
        "../envs/plots.yaml"
    params:
        criteria=CRITERIA,
    message:
        "Drawing the areas under the removal curves of {wildcards.net}"
    script:
        "../scripts/plot_auc.py"


rule plot_oracle:
    """Draw the criteria against the oracle sets."""
    input:
        table="results/tables/oracle.csv",
    output:
        "results/figures/{net}/oracle.png",
        "results/figures/{net}/oracle_accuracy.png",
        overlap=drawing("oracle", "oracle", "Oracle", figure="Overlap and gap"),
        accuracy=drawing("oracle_accuracy", "oracle_accuracy", "Oracle", figure="Accuracy by size"),
    log:
        "results/logs/plot_oracle/{net}.log",
    conda:
        "../envs/plots.yaml"
    params:
        criteria=CRITERIA,
    message:
        "Drawing the criteria against the oracle sets of {wildcards.net}"
    script:
        "../scripts/plot_oracle.py"


rule plot_estimators:
    """Draw estimators against the truth."""
    input:
        table="results/tables/estimators.csv",
    output:
        "results/figures/{net}/estimators_cost.png",
        "results/figures/{net}/estimators_pruning.png",
        cost=drawing("estimators_cost", "estimators_cost", "Estimators", figure="Error against cost"),
        pruning=drawing("estimators_pruning", "estimators_pruning", "Estimators", figure="Pruning against error"),
    log:
        "results/logs/plot_estimators/{net}.log",
    conda:
        "../envs/plots.yaml"
    params:
        estimators=config["estimators"]["compared"],
    message:
        "Drawing the estimators of {wildcards.net} against the truth"
    script:
        "../scripts/plot_estimators.py"


rule plot_low_data:
    """Draw what pruning with little data leaves."""
    input:
        table="results/tables/low_data.csv",
    output:
        "results/figures/{net}/low_data_steps_loss.png",
        "results/figures/{net}/low_data_steps_accuracy.png",
        "results/figures/{net}/low_data_final_loss.png",
        "results/figures/{net}/low_data_final_accuracy.png",
        loss=drawing("low_data_steps_loss", "low_data", "Low data", figure="Step by step", measure="loss"),
        accuracy=drawing("low_data_steps_accuracy", "low_data", "Low data", figure="Step by step", measure="accuracy"),
        final_loss=drawing("low_data_final_loss", "low_data_final", "Low data", figure="In the end", measure="loss"),
        final_accuracy=drawing(
            "low_data_final_accuracy", "low_data_final", "Low data", figure="In the end", measure="accuracy"
        ),
    log:
        "results/logs/plot_low_data/{net}.log",
    conda:
        "../envs/plots.yaml"
    params:
        criteria=CRITERIA,
    message:
        "Drawing {wildcards.net} pruned with little data"
    script:
        "../scripts/plot_low_data.py"


rule plot_fine_tune:
    """Draw pruned networks that were trained again with more or less data."""
    input:
        table="results/tables/fine_tune.csv",
    output:
        drawing("fine_tune", "fine_tune", "Fine-tuning", figure="Against the training images"),
        "results/figures/{net}/fine_tune.png",
    log:
        "results/logs/plot_fine_tune/{net}.log",
    conda:
        "../envs/plots.yaml"
    params:
        criteria=CRITERIA,
    message:
        "Drawing the networks of {wildcards.net} that were trained again"
    script:
        "../scripts/plot_fine_tune.py"


rule plot_compress:
    """Draw networks that lost units of all layers at once."""
    input:
        table="results/tables/compress.csv",
        networks="results/tables/networks.csv",
    output:
        drawing("compress", "compress", "Compression", figure="Against the parameters"),
        "results/figures/{net}/compress.png",
    log:
        "results/logs/plot_compress/{net}.log",
    conda:
        "../envs/plots.yaml"
    params:
        criteria=CRITERIA,
    message:
        "Drawing {wildcards.net} compressed"
    script:
        "../scripts/plot_compress.py"


rule plot_untrained:
    """Draw an untrained network without the units that score below zero."""
    input:
        table="results/tables/untrained.csv",
    output:
        drawing("untrained", "untrained", "Untrained", figure="Step by step"),
        "results/figures/{net}/untrained.png",
    log:
        "results/logs/plot_untrained/{net}.log",
    conda:
        "../envs/plots.yaml"
    params:
        criteria=CRITERIA,
        layers=layers_of,
        # Of a user's own data they are not known before it is read.
        classes=lambda wildcards: getattr(DATASETS.get(network_of(wildcards)["data"]), "classes", None),
    message:
        "Drawing {wildcards.net}, which was never trained"
    script:
        "../scripts/plot_untrained.py"
