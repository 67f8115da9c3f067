"""Networks of which only the units of the highest scores were trained on: what `tune_units` makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shapprune.workflow.stages.inputs import data_of
from shapprune.workflow.stages.scores import scores_of
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

# Methods beside criteria: units drawn at random, all parameters, and low-rank matrices beside the weights.
BASELINES = ("random", "full", "lora")
_RUN = ("net", "seed", "method", "aggregate", "data", "share", "images", "trial")


class TuneUnits(Stage):
    """What training on makes of a network by each method, trial and learning rate."""

    rule = "tune_units"
    section = "selective_tuning"
    wildcards = ("net", "seed", "method")
    outputs = {"table": f"{RUN}/tuned/{{method}}.csv", "manifest": f"{RUN}/tuned/{{method}}.json"}
    place = f"{RUN}/tuned/{{method}}.json"
    columns = (
        *(*_RUN, "lr", "trainable", "parameters", "epochs", "validation_loss"),
        *("loss_before", "accuracy_before", "loss", "accuracy", "seconds"),
    )
    tables = (
        Table("tuned", columns, kind="chosen_rates", title="Selective fine-tuning"),
        Table(
            "tuned_tests",
            (
                *("net", "measure", "method", "aggregate", "other", "other_aggregate"),
                *("runs", "difference", "t", "p", "p_holm"),
            ),
            kind="tests",
            title="Selective fine-tuning, t-tests",
        ),
    )
    optional = True
    logged = "tuned"

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job a method, where there are layers whose units can leave."""
        if self.study.removable(net):
            yield from ({"method": name} for name in self.config["selective_tuning"]["methods"])

    def data(self, net: str) -> str:
        """The data set that a network is trained on with."""
        name: str = self.config["selective_tuning"]["data"].get(net, self.study.networks[net]["data"])
        return name

    def tasks(self, at: Place) -> Iterator[Planned]:
        """One task an aggregate, trial and learning rate."""
        section, method, layers = self.config["selective_tuning"], at["method"], self.study.removable(at["net"])
        digest, functions = data_of(self.data(at["net"]), self.config["datasets"])
        parts: dict[str, Any] = {name: section[name] for name in ("images", "test_images")} | {"data": digest}
        consumes: dict[str, Any] = {"model": self.network(at)}
        share = 1.0
        if method != "full":
            parts |= {"share": (share := section["share"]), "layers": layers}
        aggregates = ["mean"]
        if method in BASELINES:
            parts["baseline"] = method
        else:
            settings = self.config["criteria"][method]
            aggregates = settings["aggregates"]
            if self.data(at["net"]) == self.study.networks[at["net"]]["data"]:
                consumes["scores"] = {layer: scores_of(self, at, layer, method, 0) for layer in layers}
            else:  # units are scored on what the network is to learn
                parts |= {**method_of(settings), "scoring_images": self.config["scoring"]["images"]}
                parts["game"], functions = game_options(self.config), (*functions, *functions_of(settings))
        names = {"data": self.data(at["net"]), "share": share, "images": section["images"]}
        for aggregate in aggregates:
            scored = {} if method in BASELINES else {"aggregate": aggregate}
            for trial in range(section["trials"]):
                for rate in section.get("rates", [section["train"]["lr"]]):
                    yield self.task(
                        at,
                        f"{aggregate}/trial{trial}/lr{rate:.12g}",
                        {**parts, **scored, "train": {**section["train"], "lr": rate}, "trial": trial},
                        consumes=consumes,
                        names={**names, "aggregate": aggregate, "trial": trial, "lr": rate},
                        functions=functions,
                    )
