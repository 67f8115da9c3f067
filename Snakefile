"""shapprune: Shapley-value pruning of neural networks, from training to the report.

snakemake --cores all --resources gpu=8                        the default study, config.yaml
snakemake --cores all --configfile studies/NAME.yaml           another one, laid over it
snakemake --list-target-rules                                  what can be made on its own
"""

from snakemake.utils import min_version

min_version("9.27")


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/score.smk"
include: "rules/oracle.smk"
include: "rules/estimators.smk"
include: "rules/prune.smk"
include: "rules/fine_tune.smk"
include: "rules/budgets.smk"
include: "rules/parameters.smk"
include: "rules/untrained.smk"
include: "rules/selective.smk"
include: "rules/probe.smk"
include: "rules/evaluate.smk"
include: "rules/figures.smk"
include: "rules/report.smk"
include: "rules/track.smk"
include: "rules/targets.smk"
include: "rules/store.smk"
include: "rules/share.smk"


localrules:
    all,


rule all:
    """The whole study: tables, figures and what the report shows, mirrored into MLflow."""
    default_target: True
    input:
        "results/run_config.yaml",
        TABLES,
        FIGURES,
        rules.write_headline.output,
        results("export_budgets"),
        ["results/tracking.json"] if config["tracking"] == "after" else [],
