"""Networks that fit budgets, made with few images without labels: what `fit_budgets` and `export_budgets` make."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from shapprune.workflow.stages.stage import RUN, Place, Planned, Stage, Table, functions_of

# What decides the damage of layers; methods that differ in other things share it.
DAMAGE = ("criterion", "options", "aggregate", "multiple")


class _OfMethod(Stage):
    section = "budgets"
    wildcards = ("net", "seed", "method")
    optional = True

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job a method."""
        yield from ({"method": name} for name in self.config["budgets"]["methods"])


class FitBudgets(_OfMethod):
    """A network for each budget and trial of a method."""

    rule = "fit_budgets"
    outputs = {"folder": f"{RUN}/budgets/{{method}}"}
    place = f"{RUN}/budgets/{{method}}"
    tables = (
        Table(
            "budgets",
            (
                *("net", "seed", "method", "measure", "budget", "images", "trial"),
                *("macs", "parameters", "bytes", "milliseconds"),
                *("agreement", "agreement_low", "agreement_high", "test_agreement", "loss", "accuracy"),
                *("intact_macs", "intact_accuracy", "distil_steps", "distil_rate", "seconds"),
            ),
            output="folder",
            kind="manifests",
            title="Budgets",
        ),
    )
    logged = "budget"

    def tasks(self, at: Place) -> Iterator[Planned]:
        """One task a budget and trial, and one a trial whose result its budgets share: the damage of each layer."""
        section = self.config["budgets"]
        method = section["methods"][at["method"]]
        scorer = {**method["options"], "method": method["criterion"]}
        task = partial(self.task, at, consumes={"model": self.network(at)}, functions=functions_of(scorer))
        changes = method["distil"] or (method["repair"] == "least-squares" and method["copies"] != 0)
        how = {key: value for key, value in method.items() if key != "augment" or changes}
        for trial in range(section["trials"]):
            if method["allocation"] == "damage":
                parts = {name: method[name] for name in DAMAGE} | {"images": section["images"], "trial": trial}
                yield task(f"damage/trial{trial}", parts, shown=False)
            for size in section["sizes"]:
                names = {"measure": section["measure"], "budget": size, "images": section["images"], "trial": trial}
                label = f"{section['measure']}{size:.12g}/trial{trial}"
                yield task(label, {**how, **names, "test_images": section["test_images"]}, names=names)


class ExportBudgets(_OfMethod):
    """The networks of `fit_budgets` as ONNX files, where that is asked for."""

    rule = "export_budgets"
    outputs = {"folder": f"{RUN}/onnx/{{method}}"}
    place = f"{RUN}/onnx/{{method}}"
    gpu = False

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job a method, if any."""
        if self.config["budgets"]["onnx"]:
            yield from super().places(net)

    def tasks(self, at: Place) -> Iterator[Planned]:
        """One task a network."""
        for label, fitted in self.study.tasks("fit_budgets", at).items():
            if fitted.stem is not None:
                yield self.task(at, label, {}, consumes={"fitted": fitted}, names=fitted.names)
