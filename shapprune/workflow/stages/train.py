"""Trained networks: what `train_network` makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shapprune.networks.tables import builder_functions
from shapprune.workflow.stages.inputs import data_of, weights_of
from shapprune.workflow.stages.stage import RUN, Place, Planned, Settings, Stage, Table

_EPOCH = ("epoch", "lr", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "seconds")
_MEASURED = ("parameters", "macs", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")


class TrainNetwork(Stage):
    """A network for each seed, trained by its recipe or loaded from weights."""

    rule = "train_network"
    section = "networks"
    outputs = {
        "model": f"{RUN}/model.safetensors",
        "manifest": f"{RUN}/model.json",
        "table": f"{RUN}/training.csv",
    }
    place = RUN
    columns = ("net", "seed", *_EPOCH)
    tables = (
        Table(
            "networks",
            ("net", "seed", "network.architecture", "network.data", *_MEASURED),
            output="manifest",
            kind="manifests",
            title="Networks",
        ),
        Table("training", columns),
    )
    logged = "network"

    def tasks(self, at: Place) -> Iterator[Planned]:
        """The one network of a job."""
        network = self.study.networks[at["net"]]
        parts = start_of(network, self.config) | {
            "seed": at["seed"],
            "validation": self.config["splits"]["validation"],
        }
        if "train" in network:
            parts["train"] = network["train"]
        if "weights" in network:
            parts["weights"] = weights_of(network["weights"])
        functions = network_functions(network, self.config)
        yield self.task(at, "model", parts, names={"network": network}, functions=functions)


def start_of(network: Settings, config: Settings) -> dict[str, Any]:
    """What the initial weights of a network, and its data, depend on beside the seed."""
    parts = {key: network[key] for key in ("architecture", "options")}
    return parts | {"data": data_of(network["data"], config["datasets"])[0]}


def network_functions(network: Settings, config: Settings) -> tuple[str, ...]:
    """The functions that build a network, and the user's own that loads its data."""
    return (*builder_functions(network["architecture"]), *data_of(network["data"], config["datasets"])[1])
