"""Checks of what is done with the units of the highest scores: selective fine-tuning, and probes.

Each check yields the keys and sentences of the mistakes it finds; see `shapprune.workflow.study.checks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shapprune.core.errors import suggestion, unknown
from shapprune.data.sets import DATASETS
from shapprune.networks.recipe import conflicts
from shapprune.workflow.stages.layers import has_tokens, info_of
from shapprune.workflow.stages.probe import BASELINES as PROBED_TOO
from shapprune.workflow.stages.selective import BASELINES as TUNED_TOO
from shapprune.workflow.study.image_checks import check_images
from shapprune.workflow.study.schema import Problem


def check_selective_tuning(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Check the section ``selective_tuning``."""
    section, key = config["selective_tuning"], "selective_tuning"
    yield from _check_methods(key, section["methods"], TUNED_TOO, config["criteria"])
    yield from ((f"{key}.train.{name}", problem) for name, problem in conflicts(section["train"]))
    for net, data in section["data"].items():
        if net not in config["networks"]:
            yield f"{key}.data", f"{net!r} is not in networks{suggestion(net, config['networks'])}"
        if data not in (known := [*DATASETS, *config["datasets"]]):
            yield f"{key}.data.{net}", str(unknown("data set", data, known))
    if not section["methods"]:
        return
    used = {net: section["data"].get(net, network.get("data")) for net, network in config["networks"].items()}
    yield from check_images(key, config, data=used.values())
    for net, network in config["networks"].items():
        data = used[net]
        own, info = info_of(network.get("data"), config), info_of(data, config)
        if own and info and (own.shape, own.classes) != (info.shape, info.classes):
            yield (
                f"{key}.data.{net}",
                f"{data} has {info.classes} classes or tokens in {list(info.shape)}, but {net} takes those of"
                f" {network['data']}, {own.classes} in {list(own.shape)}",
            )
        if has_tokens(data, config) and (changes := section["train"]["augment"]):
            yield f"{key}.train.augment", f"{', '.join(changes)} change images, but {net} takes tokens"


def check_probe(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Check the section ``probe``."""
    section, key = config["probe"], "probe"
    yield from _check_methods(key, section["methods"], PROBED_TOO, config["criteria"])
    if not section["methods"]:
        return
    yield from check_images(key, config)


def _check_methods(
    key: str, methods: list[str], baselines: tuple[str, ...], criteria: Mapping[str, Any]
) -> Iterator[Problem]:
    for name in methods:
        if name not in (*criteria, *baselines):
            yield (
                f"{key}.methods",
                f"{name!r} is neither in criteria nor one of {', '.join(baselines)}"
                f"{suggestion(name, [*criteria, *baselines])}",
            )
        elif name in baselines and name in criteria and criteria[name].get("method", name) != name:
            yield f"{key}.methods", f"{name!r} is no criterion here, but criteria has one of that name; rename it there"
