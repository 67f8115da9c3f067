"""Removal curves of all layers: what `measure_curves` makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shapprune.workflow.stages.scores import orders_of
from shapprune.workflow.stages.stage import RUN, Place, Planned, Stage, Table

_ORDER = ("net", "seed", "criterion", "aggregate", "trial", "layer", "units")


class MeasureCurves(Stage):
    """Loss and accuracy along each criterion's removal order of a layer."""

    rule = "measure_curves"
    section = "curves"
    wildcards = ("net", "seed", "layer")
    outputs = {"table": f"{RUN}/curves/{{layer}}.csv", "manifest": f"{RUN}/curves/{{layer}}.json"}
    place = f"{RUN}/curves/{{layer}}.json"
    columns = (*_ORDER, "removed", "loss", "accuracy")
    tables = (
        Table("curves", columns),
        Table("auc", (*_ORDER, "auc_loss", "auc_accuracy"), kind="areas", title="Areas under removal curves"),
    )
    logged = "criterion"

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job a layer."""
        yield from ({"layer": layer} for layer in self.study.layers(net))

    def tasks(self, at: Place) -> Iterator[Planned]:
        """A curve for each criterion, aggregate and trial."""
        units, section = self.study.layers(at["net"])[at["layer"]], self.config["curves"]
        points = None if section["points"] == "all" or section["points"] > units else section["points"]
        measured = {"images": section["images"], "points": points, "layer": at["layer"]}
        for label, names, scores in orders_of(self, at):
            parts = {**measured, "aggregate": names["aggregate"]}
            consumes = {"model": self.network(at), "scores": scores}
            yield self.task(at, label, parts, consumes=consumes, names={**names, "units": units})
