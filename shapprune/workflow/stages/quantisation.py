"""Networks with weights of few bits: what `quantise_network` makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shapprune.workflow.stages.stage import RUN, Place, Planned, Stage, Table

# The methods of `shapprune.parameters.quantisation`, and the bits that they are for.
METHODS = ("round", "gptq", "obd", "shapley-diagonal", "shapley")
BITS = (4, 8)
_WITHOUT_IMAGES, _CORRECTED = ("round",), ("shapley-diagonal", "shapley")


class QuantiseNetwork(Stage):
    """A network for each method, number of bits, beta and trial."""

    rule = "quantise_network"
    section = "quantisation"
    outputs = {"folder": f"{RUN}/quantised"}
    place = f"{RUN}/quantised"
    tables = (
        Table(
            "quantised",
            (
                *("net", "seed", "method", "bits", "beta", "images", "trial", "bytes", "intact_bytes"),
                *("proxy_loss", "damping", "loss", "accuracy", "test_agreement", "intact_loss", "intact_accuracy"),
                "seconds",
            ),
            output="folder",
            kind="manifests",
            title="Quantised networks",
        ),
    )
    optional = True
    logged = "quantised"

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job, where there are methods."""
        yield from [{}] if self.config["quantisation"]["methods"] else []

    def tasks(self, at: Place) -> Iterator[Planned]:
        """One task a network; where no image is looked at there is one trial, where nothing is corrected no beta."""
        section = self.config["quantisation"]
        for name, settings in section["methods"].items():
            betas = section["betas"] if settings["method"] in _CORRECTED else [None]
            for trial in range(1 if settings["method"] in _WITHOUT_IMAGES else section["trials"]):
                for bits in section["bits"]:
                    for beta in betas:
                        names = {"bits": bits, "beta": beta, "images": section["images"], "trial": trial}
                        corrected = "" if beta is None else f"/beta{beta:.12g}"
                        yield self.task(
                            at,
                            f"{name}/bits{bits}{corrected}/trial{trial}",
                            {**settings, **names, "test_images": section["test_images"]},
                            consumes={"model": self.network(at)},
                            names={"method": name, **names},
                        )
