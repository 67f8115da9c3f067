"""The truth about small layers: what `tabulate_coalitions` and `search_oracle` make."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shapprune.workflow.stages.scores import orders_of
from shapprune.workflow.stages.stage import RUN, Place, Planned, Settings, Stage, Table, game_options

# What stands beside the criteria in comparisons with the oracle sets: it follows from the coalition table alone.
OF_THE_TABLE = ("oracle sets", "oracle rank", "greedy removal", "exact Shapley")


def tabulated(units: int, config: Settings) -> bool:
    """Whether all coalitions of a layer with so many units are valued; of a single one nothing is to be chosen."""
    return 1 < units <= int(config["oracle"]["max_units"])


class _OfSmallLayers(Stage):
    section = "oracle"
    wildcards = ("net", "seed", "layer")

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job a layer that is small enough."""
        for layer, units in self.study.layers(net).items():
            if tabulated(units, self.config):
                yield {"layer": layer}


class TabulateCoalitions(_OfSmallLayers):
    """The value of every coalition of a layer."""

    rule = "tabulate_coalitions"
    outputs = {"coalitions": f"{RUN}/oracle/{{layer}}.npz", "manifest": f"{RUN}/oracle/{{layer}}.json"}
    place = f"{RUN}/oracle"
    logged = "coalitions"

    def tasks(self, at: Place) -> Iterator[Planned]:
        """The one table of a job."""
        parts = {"layer": at["layer"], "images": self.config["oracle"]["images"], "game": game_options(self.config)}
        yield self.task(at, at["layer"], parts, consumes={"model": self.network(at)})


class SearchOracle(_OfSmallLayers):
    """Each criterion's order against the oracle sets."""

    rule = "search_oracle"
    outputs = {
        "table": f"{RUN}/oracle/overlaps/{{layer}}.csv",
        "manifest": f"{RUN}/oracle/overlaps/{{layer}}.json",
    }
    place = f"{RUN}/oracle/overlaps/{{layer}}.json"
    columns = (
        *("net", "seed", "layer", "criterion", "aggregate", "trial"),
        *("size", "ties", "overlap_low", "overlap_high", "cumulative_overlap", "gap", "loss", "accuracy"),
    )
    tables = (Table("oracle", columns, title="Oracle sets"),)
    gpu = False
    logged = "criterion"

    def tasks(self, at: Place) -> Iterator[Planned]:
        """The order of each criterion, aggregate and trial, and what the table alone gives."""
        table = self.study.task("tabulate_coalitions", at["layer"], at)
        for label, names, scores in orders_of(self, at):
            parts = {"aggregate": names["aggregate"]}
            yield self.task(at, label, parts, consumes={"table": table, "scores": scores}, names=names)
        for name in OF_THE_TABLE:
            names = {"criterion": name, "aggregate": "mean", "trial": 0}
            yield self.task(at, name, {"of the table": name}, consumes={"table": table}, names=names)
