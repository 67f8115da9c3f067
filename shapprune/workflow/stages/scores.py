"""Scores of the units of every layer: what `score_layers` and `score_layer` make."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

from shapprune.criteria.catalog import AGGREGATES, lookup
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

FOLDER = f"{RUN}/scores"
_COLUMNS = ("net", "seed", "criterion", "aggregate", "trial", "layer", "unit", "score", "standard_error")


class Scores(Stage):
    """The scores of layers by several criteria, each in its number of trials."""

    section = "criteria"
    place = FOLDER
    tables = (Table("scores", _COLUMNS, output="folders", kind="scores"),)
    logged = "scores"
    walks: ClassVar[bool]

    @cached_property
    def criteria(self) -> dict[str, Settings]:
        """The criteria of the configuration that are computed here."""
        return {
            name: settings
            for name, settings in self.config["criteria"].items()
            if lookup(settings["method"]).walks == self.walks
        }

    def scored(self, at: Place, layer: str) -> Iterator[Planned]:
        """The tasks of a layer."""
        model = {"model": self.network(at)}
        for name, settings in self.criteria.items():
            others = sorted(set(settings["aggregates"]) - set(AGGREGATES))
            parts = {"layer": layer, **method_of(settings), "images": self.config["scoring"]["images"]}
            parts |= {"game": game_options(self.config), "errors of": others}
            for trial in range(settings["trials"]):
                yield self.task(
                    at,
                    label_of(name, layer, trial),
                    {**parts, "trial": trial},
                    consumes=model,
                    names={"criterion": name},
                    functions=functions_of(settings),
                )


class ScoreLayers(Scores):
    """The criteria that need a pass or two: all layers of a network in one job."""

    rule = "score_layers"
    walks = False

    @cached_property
    def outputs(self) -> dict[str, str | list[str]]:  # type: ignore[override]
        """A folder a criterion."""
        return {"folders": [f"{FOLDER}/{name}" for name in self.criteria]}

    def tasks(self, at: Place) -> Iterator[Planned]:
        """The scores of all layers."""
        for layer in self.study.layers(at["net"]):
            yield from self.scored(at, layer)


class ScoreLayer(Scores):
    """The criteria that walk through coalitions: a job a layer."""

    rule = "score_layer"
    wildcards = ("net", "seed", "layer")
    walks = True

    @cached_property
    def outputs(self) -> dict[str, str | list[str]]:  # type: ignore[override]
        """A folder a criterion."""
        return {"folders": [f"{FOLDER}/{name}/{{layer}}" for name in self.criteria]}

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job a layer."""
        yield from ({"layer": layer} for layer in self.study.layers(net))

    def tasks(self, at: Place) -> Iterator[Planned]:
        """The scores of a layer."""
        yield from self.scored(at, at["layer"])


def label_of(criterion: str, layer: str, trial: int) -> str:
    """The label of the task that is a layer's scores."""
    return f"{criterion}/{layer}/trial{trial}"


def scores_of(stage: Stage, at: Place, layer: str, criterion: str, trial: int) -> Planned:
    """The task that is a layer's scores by a criterion, for a stage that consumes it."""
    rule = "score_layer" if lookup(stage.config["criteria"][criterion]["method"]).walks else "score_layers"
    return stage.study.task(rule, label_of(criterion, layer, trial), {**at, "layer": layer})


def orders_of(stage: Stage, at: Place) -> Iterator[tuple[str, dict[str, Any], Planned]]:
    """The removal orders of a layer that all criteria give: label, names, and the scores that each follows from."""
    for criterion, settings in stage.config["criteria"].items():
        for trial in range(settings["trials"]):
            for aggregate in settings["aggregates"]:
                names = {"criterion": criterion, "aggregate": aggregate, "trial": trial}
                yield "/".join(map(str, names.values())), names, scores_of(stage, at, at["layer"], criterion, trial)
