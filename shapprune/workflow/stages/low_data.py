"""Networks pruned layer by layer with little data: what `prune_layers` and `evaluate_pruned` make.

A chain is one network, pruned by one criterion, aggregate, ratio and repair with the images of one trial. Each of its
steps is a task of its own, without files, so that a chain that was cut off goes on after its last step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

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


class _OfCriterion(Stage):
    section = "low_data"
    wildcards = ("net", "seed", "criterion")

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job a criterion."""
        yield from ({"criterion": name} for name in self.config["low_data"]["criteria"])

    def chains(self, criterion: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The chains of a criterion: label and names."""
        low_data = self.config["low_data"]
        for aggregate in self.config["criteria"][criterion]["aggregates"]:
            for ratio in low_data["ratios"]:
                for repair in low_data["repair"]:
                    for trial in range(low_data["trials"]):
                        names = {"aggregate": aggregate, "ratio": ratio, "repair": repair, "trial": trial}
                        scored_on = low_data["scored_on"]
                        yield f"{aggregate}/ratio{ratio}/{repair}/trial{trial}", {**names, "scored_on": scored_on}

    def pruned_layers(self, net: str) -> list[str]:
        """The layers that the protocol prunes, from input to output."""
        return [layer for layer in self.study.layers(net) if layer not in self.config["low_data"]["skip"]]


class Steps(_OfCriterion):
    """The steps of the chains: no rule of its own, they are made by `prune_layers`."""

    rule = "steps"
    script = "prune_layers"
    outputs = {}

    def tasks(self, at: Place) -> Iterator[Planned]:
        """The steps of all chains of a job, each chain's from the first layer on."""
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


class PruneLayers(_OfCriterion):
    """The chains."""

    rule = "prune_layers"
    outputs = {"folder": f"{RUN}/pruned/{{criterion}}"}
    place = f"{RUN}/pruned/{{criterion}}"

    def tasks(self, at: Place) -> Iterator[Planned]:
        """One task a chain."""
        layers = self.pruned_layers(at["net"])
        for label, names in self.chains(at["criterion"]):
            consumes = {"model": self.network(at)}
            if layers:  # the first layer is pruned last
                consumes["last step"] = self.study.task("steps", step_label(label, layers[0]), at)
            yield self.task(
                at, label, {**names, "images": self.config["low_data"]["images"]}, consumes=consumes, names=names
            )

    def given(self) -> Mapping[str, Callable[[Place], Any]]:
        """The steps of each chain, in the order of the layers, and its evaluation, which is made with it."""
        return {"steps": self._steps, "evaluations": self._evaluations}

    def _steps(self, at: Place) -> dict[str, dict[str, Any]]:
        steps, layers = self.study.tasks("steps", at), self.pruned_layers(at["net"])
        return {
            label: {step_label(label, layer): steps[step_label(label, layer)].description for layer in layers}
            for label, _ in self.chains(at["criterion"])
        }

    def _evaluations(self, at: Place) -> dict[str, Any]:
        evaluations = self.study.tasks("evaluate_pruned", at)
        return {
            label: evaluations[evaluation_label(at["criterion"], label)].description
            for label, _ in self.chains(at["criterion"])
        }


class EvaluatePruned(Stage):
    """Loss, accuracy and size of a network after each step of its chains."""

    rule = "evaluate_pruned"
    section = "low_data"
    outputs = {"table": f"{RUN}/low_data.csv", "manifest": f"{RUN}/low_data.json"}
    place = f"{RUN}/low_data.json"
    columns = (*CHAIN, *STEP)
    tables = (Table("low_data", columns, title="Low data"),)
    logged = "criterion"

    def tasks(self, at: Place) -> Iterator[Planned]:
        """One task a chain."""
        parts = {"test_images": self.config["low_data"]["test_images"]}
        for criterion in self.config["low_data"]["criteria"]:
            for label, chain in self.study.tasks("prune_layers", {**at, "criterion": criterion}).items():
                yield self.task(
                    at,
                    evaluation_label(criterion, label),
                    parts,
                    consumes={"model": self.network(at), "chain": chain},
                    names=chain.names,
                )


def step_label(chain: str, layer: str) -> str:
    """The label of a step of a chain."""
    return f"{chain}/{layer}"


def evaluation_label(criterion: str, chain: str) -> str:
    """The label of the evaluation of a criterion's chain."""
    return f"{criterion}/{chain}"
