"""The table of figures: what each is called, which function draws it from which tables, and how the report shows it.

The Snakefile reads this module, so it imports neither torch nor matplotlib.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

FOLDER = "results/figures"


@dataclass(frozen=True)
class Row:
    """A figure of one network.

    Attributes:
        name: of its files, ``results/figures/{net}/{name}.svg`` and ``.png``.
        function: ``module:function``, a module of this package. It takes the tables and the styles, and ``measure`` and
            the facts by name.
        tables: the tables of the study that it is drawn from.
        networks: the networks that have it; a key of what `paths` takes.
        section: its section in the report.
        title: its name in the section.
        caption: the text ``report/{caption}.rst``.
        rule: ``plot_{rule}`` draws it. One job draws all figures of a rule, which have the same networks.
        measure: ``loss`` or ``accuracy``, where the function draws either; else empty.
        styles: whose styles it takes, ``criteria``, ``estimators`` or ``methods`` of the configuration; empty for none.
        facts: what else it takes from the configuration; rules/figures.smk has the values.
    """

    name: str
    function: str
    tables: tuple[str, ...]
    networks: str
    section: str
    title: str
    caption: str
    rule: str
    measure: str = ""
    styles: str = "criteria"
    facts: tuple[str, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """Its columns in the report's list of figures."""
        return {"figure": self.title} | ({"measure": self.measure} if self.measure else {})

    @property
    def params(self) -> tuple[str, ...]:
        """What it takes from the configuration."""
        return (self.styles, *self.facts) if self.styles else self.facts


# fmt: off
FIGURES: Mapping[str, Row] = {row.name: row for row in (
    Row("training", "training:training_curves", ("training",), "trained",
        "Training", "Training curves", caption="training", rule="training", styles=""),
    Row("scores", "scores:score_strips", ("scores",), "studied",
        "Scores", "Ranks of units", caption="scores", rule="scores"),
    Row("curves_loss", "removal:removal_curves", ("curves",), "studied",
        "Removal curves", "Layer by layer", caption="curves", rule="curves", measure="loss"),
    Row("curves_accuracy", "removal:removal_curves", ("curves",), "studied",
        "Removal curves", "Layer by layer", caption="curves", rule="curves", measure="accuracy"),
    Row("auc", "removal:auc_bars", ("auc",), "studied",
        "Areas under the curves", "All layers", caption="auc", rule="auc"),
    Row("auc_layers", "removal:auc_layers", ("auc",), "studied",
        "Areas under the curves", "Layer by layer", caption="auc_layers", rule="auc"),
    Row("oracle", "oracle:oracle_overlap", ("oracle",), "tabulated",
        "Oracle", "Overlap and gap", caption="oracle", rule="oracle"),
    Row("oracle_accuracy", "oracle:oracle_accuracy", ("oracle",), "tabulated",
        "Oracle", "Accuracy by size", caption="oracle_accuracy", rule="oracle"),
    Row("estimators_cost", "estimators:estimators_cost", ("estimators",), "compared",
        "Estimators", "Error against cost", caption="estimators_cost", rule="estimators", styles="estimators"),
    Row("estimators_pruning", "estimators:estimators_pruning", ("estimators",), "compared",
        "Estimators", "Pruning against error", caption="estimators_pruning", rule="estimators", styles="estimators"),
    Row("low_data_steps_loss", "low_data:low_data_curves", ("low_data",), "pruned",
        "Low data", "Step by step", caption="low_data", rule="low_data", measure="loss"),
    Row("low_data_steps_accuracy", "low_data:low_data_curves", ("low_data",), "pruned",
        "Low data", "Step by step", caption="low_data", rule="low_data", measure="accuracy"),
    Row("low_data_final_loss", "low_data:low_data_final", ("low_data",), "pruned",
        "Low data", "In the end", caption="low_data_final", rule="low_data", measure="loss"),
    Row("low_data_final_accuracy", "low_data:low_data_final", ("low_data",), "pruned",
        "Low data", "In the end", caption="low_data_final", rule="low_data", measure="accuracy"),
    Row("fine_tune", "fine_tune:fine_tune_amounts", ("fine_tune",), "fine_tuned",
        "Fine-tuning", "Against the training images", caption="fine_tune", rule="fine_tune"),
    Row("compress", "compress:compress_sizes", ("compress", "networks"), "compressed",
        "Compression", "Against the parameters", caption="compress", rule="compress"),
    Row("budgets", "budgets:budget_tradeoff", ("budgets",), "budgeted",
        "Budgets", "Against the MACs", caption="budgets", rule="budgets", styles="methods"),
    Row("retrained", "retrained:retrained_methods", ("retrained",), "retrained",
        "Budgets", "Trained on", caption="retrained", rule="retrained", styles="methods"),
    Row("deactivated_loss", "deactivated:deactivated_shares", ("deactivated",), "deactivated",
        "Deactivation", "Against the units at zero", caption="deactivated", rule="deactivated", measure="loss"),
    Row("deactivated_accuracy", "deactivated:deactivated_shares", ("deactivated",), "deactivated",
        "Deactivation", "Against the units at zero", caption="deactivated", rule="deactivated", measure="accuracy"),
    Row("quantised", "quantised:quantised_methods", ("quantised",), "quantised",
        "Quantisation", "Methods", caption="quantised", rule="quantised", styles=""),
    Row("untrained", "untrained:untrained_steps", ("untrained",), "untrained",
        "Untrained", "Step by step", caption="untrained", rule="untrained", facts=("layers", "classes")),
    Row("tuned", "tuned:tuned_methods", ("tuned",), "tuned",
        "Selective fine-tuning", "By method", caption="tuned", rule="tuned"),
    Row("probed", "probed:probe_accuracies", ("probed",), "probed",
        "Probes", "Layer by layer", caption="probed", rule="probed"),
)}
# fmt: on


def by_rule() -> dict[str, list[Row]]:
    """The figures that each rule draws."""
    ordered = sorted(FIGURES.values(), key=lambda row: row.rule)
    return {rule: list(rows) for rule, rows in groupby(ordered, key=lambda row: row.rule)}


def paths(networks: Mapping[str, Iterable[str]]) -> list[str]:
    """The files of all figures of a study.

    Args:
        networks: the name of a group of networks -> the networks in it.
    """
    return [
        f"{FOLDER}/{net}/{row.name}.{suffix}"
        for row in FIGURES.values()
        for net in dict.fromkeys(networks[row.networks])
        for suffix in ("svg", "png")
    ]
