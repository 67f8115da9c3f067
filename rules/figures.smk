"""Figures of each network, as SVG (in the report) and PNG.

A rule for each kind of figure, `plot_auc` and its like, made from shapprune/workflow/figures/catalog.py. It says what is
drawn, from which tables, and for which networks.

REQUIRED INPUTS
    results/tables/*.csv
OUTPUTS
    results/figures/{net}/{figure}.svg, {figure}.png
"""

from shapprune.data.sets import DATASETS
from shapprune.workflow.figures.catalog import by_rule

# What figures are drawn with beside their tables.
DRAWN_WITH = {
    "criteria": CRITERIA,
    "estimators": config["estimators"]["compared"],
    "methods": {
        name: {**method["options"], "method": method["criterion"]}
        for name, method in config["budgets"]["methods"].items()
    },
    "layers": layers_of,
    # Of a user's own data they are not known before it is read.
    "classes": lambda wildcards: getattr(DATASETS.get(network_of(wildcards)["data"]), "classes", None),
}


def drawing(figure):
    """The SVG of a figure, shown in the report."""
    return report(
        f"results/figures/{{net}}/{figure.name}.svg",
        caption=f"../report/{figure.caption}.rst",
        category="{net}",
        subcategory=figure.section,
        labels=figure.labels,
    )


for kind, drawn in by_rule().items():

    rule:
        name:
            f"plot_{kind}"
        input:
            **{table: f"results/tables/{table}.csv" for figure in drawn for table in figure.tables},
        output:
            *[f"results/figures/{{net}}/{figure.name}.png" for figure in drawn],
            **{figure.name: drawing(figure) for figure in drawn},
        log:
            f"results/logs/plot_{kind}/{{net}}.log",
        localrule: True
        conda:
            "../envs/plots.yaml"
        params:
            **{name: DRAWN_WITH[name] for figure in drawn for name in figure.params},
        message:
            f"Drawing {kind} of {{wildcards.net}}"
        script:
            "../scripts/plot.py"
