"""How far estimators of Shapley values are from the truth: what `study_estimators` makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shapprune.criteria.catalog import lookup
from shapprune.workflow.stages.coalitions import tabulated
from shapprune.workflow.stages.stage import (
    RUN,
    Place,
    Planned,
    Settings,
    Stage,
    Table,
    functions_of,
    game_options,
    method_of,
)

SETTINGS_KEYS = ("method", "over")  # of an estimator in a configuration; the others are options of its method
_TRUTH = "truth"
_CONVERGED = "permutation"  # the method of the truth where it is not exact


class StudyEstimators(Stage):
    """Estimators in each of their sizes, repeated and compared with the truth about a layer."""

    rule = "study_estimators"
    section = "estimators"
    wildcards = ("net", "seed", "layer")
    outputs = {
        "table": f"{RUN}/estimators/{{layer}}.csv",
        "manifest": f"{RUN}/estimators/{{layer}}.json",
    }
    place = f"{RUN}/estimators/{{layer}}.json"
    columns = (
        *("net", "seed", "layer", "units", "truth", "estimator", "setting", "repetition", "evaluations", "seconds"),
        *("spearman", "kendall", "mse_ratio", "bottom25_overlap", "auc_loss", "gap"),
    )
    tables = (Table("estimators", columns, title="Estimators"),)
    optional = True
    logged = "estimator"

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job a layer that estimators are compared in."""
        section = self.config["estimators"]
        for layer, units in self.study.layers(net).items():
            if section["compared"] and 1 < units <= section["max_units"]:
                yield {"layer": layer}

    def tasks(self, at: Place) -> Iterator[Planned]:
        """The truth, and an estimator in one of its sizes each."""
        section = self.config["estimators"]
        truth = self._truth(at)
        yield truth
        names = {name: truth.names[name] for name in ("units", "truth")}
        consumes = {"model": self.network(at), "truth": truth}
        for estimator, settings in section["compared"].items():
            repetitions = section["repetitions"] if lookup(settings["method"]).random else 1
            for setting, sized in sizes_of(settings):
                yield self.task(
                    at,
                    f"{estimator}/{setting}",
                    {**method_of(sized), "repetitions": repetitions},
                    consumes=consumes,
                    names={**names, "estimator": estimator, "setting": setting},
                    functions=functions_of(sized),
                )

    def _truth(self, at: Place) -> Planned:
        """What estimators are compared with in a layer: the exact values, or those of many orders."""
        units = self.study.layers(at["net"])[at["layer"]]
        parts = {"layer": at["layer"], "images": self.config["oracle"]["images"], "game": game_options(self.config)}
        parts["curve images"] = self.config["curves"]["images"]
        consumes = {"model": self.network(at)}
        functions: tuple[str, ...] = ()
        if tabulated(units, self.config):
            name, consumes["table"] = "exact Shapley", self.study.task("tabulate_coalitions", at["layer"], at)
        else:
            options = {"permutations": self.config["estimators"]["converged"], "antithetic": True}
            name, parts = "converged Shapley", {**parts, "method": _CONVERGED, "options": options}
            functions = functions_of({"method": _CONVERGED})
        names = {"units": units, "truth": name, "estimator": name, "setting": ""}
        return self.task(at, _TRUTH, parts, consumes=consumes, names=names, functions=functions)


def sizes_of(settings: Settings) -> Iterator[tuple[str, dict[str, Any]]]:
    """An estimator of the configuration in all its sizes.

    Yields:
        The size in words, e.g. ``permutations=5``, empty where the estimator comes in one size only; and method and
        options, as in ``criteria``.
    """
    fixed = {key: value for key, value in settings.items() if key != "over"}
    over = [(option, value) for option, values in settings.get("over", {}).items() for value in values]
    for option, value in over:
        yield f"{option}={value}", {**fixed, option: value}
    if not over:
        yield "", fixed
