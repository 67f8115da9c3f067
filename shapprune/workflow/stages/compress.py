"""Networks that lose units of all layers at once: what `compress_network` makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shapprune.workflow.stages.scores import scores_of
from shapprune.workflow.stages.stage import RUN, Place, Planned, Settings, Stage, Table


class CompressNetwork(Stage):
    """A network for each size and aggregate, by the scores of a criterion's first trial, and trained again."""

    rule = "compress_network"
    section = "compress"
    wildcards = ("net", "seed", "criterion")
    outputs = {"folder": f"{RUN}/compressed/{{criterion}}"}
    place = f"{RUN}/compressed/{{criterion}}"
    tables = (
        Table(
            "compress",
            (
                *("net", "seed", "criterion", "aggregate", "target", "parameters", "macs"),
                *("loss_before", "accuracy_before", "epochs", "validation_loss", "validation_accuracy"),
                *("loss", "accuracy"),
            ),
            output="folder",
            kind="manifests",
            title="Compressed networks",
        ),
    )
    optional = True
    logged = "compressed"

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job a criterion, where the network is compressed at all."""
        if self._sizes(net):
            yield from ({"criterion": name} for name in self.config["compress"]["criteria"])

    def tasks(self, at: Place) -> Iterator[Planned]:
        """One task an aggregate and size."""
        criterion = at["criterion"]
        scores = {layer: scores_of(self, at, layer, criterion, 0) for layer in self.study.removable(at["net"])}
        for aggregate in self.config["criteria"][criterion]["aggregates"]:
            for name, size in self._sizes(at["net"]).items():
                to = {key: value for key, value in size.items() if key != "networks"}
                yield self.task(
                    at,
                    f"{aggregate}/{name}",
                    {"train": self.config["compress"]["train"], "aggregate": aggregate, "to": to},
                    consumes={"model": self.network(at), "scores": scores},
                    names={"aggregate": aggregate, "target": name},
                )

    def _sizes(self, net: str) -> dict[str, Settings]:
        """The sizes that a network is compressed to."""
        sizes = self.config["compress"]["sizes"]
        return {name: size for name, size in sizes.items() if net in size.get("networks", [net])}
