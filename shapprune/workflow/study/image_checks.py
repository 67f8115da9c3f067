"""Checks of how many images a section of a configuration asks for; see `shapprune.workflow.study.checks`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shapprune.workflow.stages.layers import info_of
from shapprune.workflow.study.schema import Problem


def check_images(
    section: str, config: Mapping[str, Any], calibrates: bool = True, data: Iterable[str | None] | None = None
) -> Iterator[Problem]:
    """Check ``test_images`` of a section against data sets, and ``images``, which come from the training images.

    Args:
        section: of the configuration.
        config: the configuration.
        calibrates: whether the section has ``images``.
        data: names of the data sets; by default those of the networks.
    """
    asked = config[section]
    for name in dict.fromkeys(data or (network.get("data") for network in config["networks"].values())):
        if (info := info_of(name, config)) is None:
            continue
        most = info.train - config["splits"]["validation"]
        if calibrates and asked["images"] != "all" and asked["images"] > most:
            yield (
                f"{section}.images",
                f"{asked['images']} is more than the {most} training images of {name} not held back",
            )
        if asked["test_images"] != "all" and asked["test_images"] > info.test:
            yield f"{section}.test_images", f"{asked['test_images']} is more than the {info.test} test images of {name}"
