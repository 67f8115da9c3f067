"""Stages that can be asked for by name.

REQUIRED INPUTS
    whatever the named stage needs
OUTPUTS
    none of their own
"""


localrules:
    data_all,
    train_all,
    score_all,
    oracle_all,
    estimators_all,
    curves_all,
    prune_all,
    fine_tune_all,
    compress_all,
    untrained_all,
    tables_all,
    figures_all,


rule data_all:
    """All data sets, checked and prepared."""
    input:
        [f"results/data/{network['data']}.npz" for network in NETWORKS.values()],


rule train_all:
    """All trained networks."""
    input:
        runs(f"{RUN}/model.safetensors"),


rule score_all:
    """The scores of all layers by all criteria."""
    input:
        runs(HEURISTIC_SCORES),
        layers(WALK_SCORES),


rule oracle_all:
    """Coalition tables of the small layers, oracle sets and their overlap with the criteria."""
    input:
        small_layers(f"{RUN}/oracle/overlaps/{{layer}}.csv"),


rule estimators_all:
    """Estimators of Shapley values against the truth."""
    input:
        compared_layers(f"{RUN}/estimators/{{layer}}.csv"),


rule curves_all:
    """Removal curves of all layers."""
    input:
        layers(f"{RUN}/curves/{{layer}}.csv"),


rule prune_all:
    """Networks pruned with little data, and their evaluation."""
    input:
        runs(f"{RUN}/low_data.csv"),


rule fine_tune_all:
    """Low-data networks trained again with more or less data."""
    input:
        runs(f"{RUN}/fine_tuned/{{criterion}}.csv", criterion=FINE_TUNED),


rule compress_all:
    """Networks that lost units of all layers at once and were trained again."""
    input:
        compressed(),


rule untrained_all:
    """Untrained networks without the units that score below zero."""
    input:
        runs(f"{RUN}/untrained.csv", UNTRAINED),


rule tables_all:
    """The tables of the study."""
    input:
        TABLES,


rule figures_all:
    """The figures of the study, and the tables they are drawn from."""
    input:
        FIGURES,
