"""Networks pruned layer by layer with little data: what `prune_layers`, `prune_by_walks` and `evaluate_pruned` make.

A chain is one network, pruned by one criterion, aggregate, ratio and repair with the images of one trial. Each of its
steps is a task of its own, without files, so that a chain that was cut off goes on after its last step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

from shapprune.criteria.catalog import lookup
from shapprune.workflow.stages.stage import (
    RUN,
    Place,
    Planned,
    Stage,
    Table,
    functions_of,
    game_options,
    method_of,
)

CHAIN = ("net", "seed", "criterion", "aggregate", "ratio", "repair", "trial", "scored_on")
STEP = ("step", "layer", "units_left", "loss", "accuracy", "parameters", "macs")


class _Chains(Stage):
    section = "low_data"

    def chains(self, criterion: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The chains of a criterion: label and names."""
        low_data = self.config["low_data"]
        for aggregate in self.config["criteria"][criterion]["aggregates"]:
            for ratio in low_data["ratios"]:
                for repair in low_data["repair"]:
                    for trial in range(low_data["trials"]):
                        names = {"aggregate": aggregate, "ratio": ratio, "repair": repair, "trial": trial}
                        scored_on = low_data["scored_on"]
                        label = f"{criterion}/{aggregate}/ratio{ratio}/{repair}/trial{trial}"
                        yield label, {**names, "scored_on": scored_on}

    def pruned_layers(self, net: str) -> list[str]:
        """The layers that the protocol prunes, from input to output."""
        return [layer for layer in self.study.removable(net) if layer not in self.config["low_data"]["skip"]]


class Steps(_Chains):
    """The steps of the chains: no rule of its own, they are made with the chains."""

    rule = "steps"
    script = "prune_layers"
    wildcards = ("net", "seed", "criterion")
    outputs = {}

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """All criteria."""
        if self.study.removable(net):
            yield from ({"criterion": name} for name in self.config["low_data"]["criteria"])

    def tasks(self, at: Place) -> Iterator[Planned]:
        """The steps of all chains of a criterion, each chain's from the first layer on."""
        settings, low_data = self.config["criteria"][at["criterion"]], self.config["low_data"]
        for label, names in self.chains(at["criterion"]):
            parts = {**method_of(settings), **names, "images": low_data["images"], "game": game_options(self.config)}
            steps, before = list[Planned](), self.network(at)
            for layer in reversed(self.pruned_layers(at["net"])):
                before = self.task(
                    at,
                    step_label(label, layer),
                    {**parts, "layer": layer},
                    consumes={"step before": before},
                    functions=functions_of(settings),
                )
                steps.append(before)
            yield from reversed(steps)


class _Pruned(_Chains):
    script = "prune_layers"
    place = f"{RUN}/pruned"
    walks: ClassVar[bool]

    @cached_property
    def criteria(self) -> list[str]:
        """The criteria of the protocol that networks are pruned by here."""
        configured = self.config["criteria"]
        names = self.config["low_data"]["criteria"]
        return [name for name in names if lookup(configured[name]["method"]).walks == self.walks]

    def tasks(self, at: Place) -> Iterator[Planned]:
        """One task a chain."""
        layers = self.pruned_layers(at["net"])
        for criterion in self._of_job(at):
            for label, names in self.chains(criterion):
                consumes = {"model": self.network(at)}
                if layers:  # the first layer is pruned last
                    last = step_label(label, layers[0])
                    consumes["last step"] = self.study.task("steps", last, {**at, "criterion": criterion})
                yield self.task(
                    at,
                    label,
                    {**names, "images": self.config["low_data"]["images"]},
                    consumes=consumes,
                    names={"criterion": criterion, **names},
                )

    def given(self) -> Mapping[str, Callable[[Place], Any]]:
        """The steps of each chain, in the order of the layers, and its evaluation, which is made with it."""
        return {"steps": self._steps, "evaluations": self._evaluations}

    def _of_job(self, at: Place) -> list[str]:
        return [at["criterion"]] if "criterion" in at else self.criteria

    def _steps(self, at: Place) -> dict[str, dict[str, Any]]:
        layers, found = self.pruned_layers(at["net"]), {}
        for criterion in self._of_job(at):
            steps = self.study.tasks("steps", {**at, "criterion": criterion})
            for chain, _ in self.chains(criterion):
                labels = [step_label(chain, layer) for layer in layers]
                found[chain] = {label: steps[label].description for label in labels}
        return found

    def _evaluations(self, at: Place) -> dict[str, Any]:
        evaluations = self.study.tasks("evaluate_pruned", at)
        return {label: evaluations[label].description for label in self.study.tasks(self.rule, at)}


class PruneLayers(_Pruned):
    """The chains of the criteria that need a pass or two: all in one job."""

    rule = "prune_layers"
    walks = False

    @cached_property
    def outputs(self) -> dict[str, str | list[str]]:  # type: ignore[override]
        """A folder a criterion."""
        return {"folders": [f"{self.place}/{name}" for name in self.criteria]}

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job, where there are such criteria, and layers to prune."""
        yield from [{}] if self.criteria and self.study.removable(net) else []


class PruneByWalks(_Pruned):
    """The chains of a criterion that walks through coalitions."""

    rule = "prune_by_walks"
    wildcards = ("net", "seed", "criterion")
    walks = True
    outputs = {"folders": f"{RUN}/pruned/{{criterion}}"}

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job a criterion, where there are layers to prune."""
        if self.study.removable(net):
            yield from ({"criterion": name} for name in self.criteria)


class EvaluatePruned(Stage):
    """Loss, accuracy and size of a network after each step of its chains."""

    rule = "evaluate_pruned"
    section = "low_data"
    outputs = {"table": f"{RUN}/low_data.csv", "manifest": f"{RUN}/low_data.json"}
    place = f"{RUN}/low_data.json"
    columns = (*CHAIN, *STEP)
    tables = (Table("low_data", columns, title="Low data"),)
    logged = "criterion"

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job, where there are layers to prune."""
        yield from [{}] if self.study.removable(net) else []

    def tasks(self, at: Place) -> Iterator[Planned]:
        """One task a chain."""
        parts = {"test_images": self.config["low_data"]["test_images"]}
        for criterion in self.config["low_data"]["criteria"]:
            for label, chain in chains_of(self, at, criterion):
                consumes = {"model": self.network(at), "chain": chain}
                yield self.task(at, label, parts, consumes=consumes, names=chain.names)


def step_label(chain: str, layer: str) -> str:
    """The label of a step of a chain."""
    return f"{chain}/{layer}"


def chains_of(stage: Stage, at: Place, criterion: str) -> Iterator[tuple[str, Planned]]:
    """The chains of a criterion, by label, for a stage that consumes them."""
    rule = "prune_by_walks" if lookup(stage.config["criteria"][criterion]["method"]).walks else "prune_layers"
    for label, chain in stage.study.tasks(rule, {**at, "criterion": criterion}).items():
        if chain.names["criterion"] == criterion:
            yield label, chain
