"""Checks of how many images a section of a configuration asks for; see `shapprune.workflow.study.checks`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shapprune.workflow.stages.layers import infos
from shapprune.workflow.study.schema import Problem


def check_images(section: str, config: Mapping[str, Any], calibrates: bool = True) -> Iterator[Problem]:
    """Check ``test_images`` of a section against each network's data set, and ``images`` if they calibrate."""
    asked = config[section]
    for name, info in infos(config["networks"], config).items():
        most = info.train - config["splits"]["validation"]
        if calibrates and asked["images"] > most:
            yield (
                f"{section}.images",
                f"{asked['images']} is more than the {most} training images of {name} not held back",
            )
        if asked["test_images"] != "all" and asked["test_images"] > info.test:
            yield f"{section}.test_images", f"{asked['test_images']} is more than the {info.test} test images of {name}"
