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
    budgets_all,
    parameters_all,
    untrained_all,
    tune_all,
    probe_all,
    tables_all,
    figures_all,


rule data_all:
    """All data sets, checked and prepared."""
    input:
        [f"results/data/{network['data']}.npz" for network in NETWORKS.values()],


rule train_all:
    """All trained networks."""
    input:
        results("train_network"),


rule score_all:
    """The scores of all layers by all criteria."""
    input:
        results("score_layers"),
        results("score_layer"),


rule oracle_all:
    """Coalition tables of the small layers, oracle sets and their overlap with the criteria."""
    input:
        results("search_oracle"),


rule estimators_all:
    """Estimators of Shapley values against the truth."""
    input:
        results("study_estimators"),


rule curves_all:
    """Removal curves of all layers."""
    input:
        results("measure_curves"),


rule prune_all:
    """Networks pruned with little data, and their evaluation."""
    input:
        results("evaluate_pruned"),


rule fine_tune_all:
    """Low-data networks trained again with more or less data."""
    input:
        results("fine_tune_pruned"),


rule compress_all:
    """Networks that lost units of all layers at once and were trained again."""
    input:
        results("compress_network"),


rule budgets_all:
    """Networks that fit budgets, made with few training images without labels, and what is made of them."""
    input:
        results("fit_budgets"),
        results("retrain_budgets"),
        results("export_budgets"),


rule parameters_all:
    """Networks with deactivated units, and quantised ones."""
    input:
        results("deactivate_units"),
        results("quantise_network"),


rule untrained_all:
    """Untrained networks without the units that score below zero."""
    input:
        results("prune_untrained"),


rule tune_all:
    """Networks of which only the units of the highest scores were trained on."""
    input:
        results("tune_units"),


rule probe_all:
    """Probes of the units of the highest scores."""
    input:
        results("probe_units"),


rule tables_all:
    """The tables of the study."""
    input:
        TABLES,


rule figures_all:
    """The figures of the study, and the tables they are drawn from."""
    input:
        FIGURES,
