"""Networks that fit budgets, made with few images without labels, and what is made of them.

They are those of `fit_budgets`; `retrain_budgets` trains them on, `export_budgets` writes them as ONNX files.
"""

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


class RetrainBudgets(_OfMethod):
    """The networks of `fit_budgets` trained on, where that is asked for."""

    rule = "retrain_budgets"
    outputs = {"folder": f"{RUN}/retrained/{{method}}"}
    place = f"{RUN}/retrained/{{method}}"
    tables = (
        Table(
            "retrained",
            (
                *("net", "seed", "method", "measure", "budget", "images", "trial", "macs", "parameters"),
                *("loss_before", "accuracy_before", "epochs", "validation_loss", "validation_accuracy"),
                *("loss", "accuracy", "intact_accuracy", "seconds"),
            ),
            output="folder",
            kind="manifests",
            title="Budgets, trained on",
        ),
    )
    logged = "retrained"

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job a method, if any."""
        if "train" in self.config["budgets"]:
            yield from super().places(net)

    def tasks(self, at: Place) -> Iterator[Planned]:
        """One task a network."""
        parts = {name: self.config["budgets"][name] for name in ("train", "teacher", "test_images")}
        for label, fitted in _fitted(self, at):
            consumes = {"model": self.network(at), "fitted": fitted}
            yield self.task(at, label, parts, consumes=consumes, names=fitted.names)


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
        for label, fitted in _fitted(self, at):
            yield self.task(at, label, {}, consumes={"fitted": fitted}, names=fitted.names)


def _fitted(stage: Stage, at: Place) -> Iterator[tuple[str, Planned]]:
    """The networks of a job of `fit_budgets`, by their labels."""
    return ((label, one) for label, one in stage.study.tasks("fit_budgets", at).items() if one.stem is not None)
