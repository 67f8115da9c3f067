"""Low-data networks trained again with more or less data: what `fine_tune_pruned` makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shapprune.workflow.stages.low_data import CHAIN, STEP, chains_of
from shapprune.workflow.stages.stage import RUN, Place, Planned, Stage, Table


class FineTunePruned(Stage):
    """The networks that a criterion's chains left without repair, trained with each number of images."""

    rule = "fine_tune_pruned"
    section = "fine_tune"
    wildcards = ("net", "seed", "criterion")
    outputs = {
        "table": f"{RUN}/fine_tuned/{{criterion}}.csv",
        "manifest": f"{RUN}/fine_tuned/{{criterion}}.json",
    }
    place = f"{RUN}/fine_tuned/{{criterion}}.json"
    columns = (*CHAIN, *STEP, "images", "epochs")
    tables = (Table("fine_tune", columns, title="Fine-tuning"),)
    optional = True
    logged = "criterion"

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job a criterion, where networks were pruned."""
        if self.study.removable(net):
            yield from ({"criterion": name} for name in self.config["fine_tune"]["criteria"])

    def tasks(self, at: Place) -> Iterator[Planned]:
        """One task a chain and number of images."""
        section = self.config["fine_tune"]
        parts = {"train": section["train"], "test_images": self.config["low_data"]["test_images"]}
        for label, chain in chains_of(self, at, at["criterion"]):
            names, consumes = chain.names, {"model": self.network(at), "chain": chain}
            if names["repair"] == "none" and names["ratio"] in section["ratios"] and names["trial"] < section["trials"]:
                for images in section["images"]:
                    yield self.task(
                        at,
                        f"{label}/images{images}",
                        {**parts, "images": images},
                        consumes=consumes,
                        names={**names, "images": images},
                    )
