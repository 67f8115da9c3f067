"""What a configuration says of its networks: the layers that are studied, and the data sets; known without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shapprune.core.errors import ShapPruneError
from shapprune.core.games import PARTS
from shapprune.data.prepared import DataInfo
from shapprune.data.sets import DATASETS
from shapprune.networks.tables import layer_table, part_table
from shapprune.workflow.stages.inputs import text_info


def layers_of(network: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, int]:
    """The layers of a network that are studied and their units, from input to output.

    ``branches`` and ``blocks`` among them are not layers but the residual branches or blocks of the whole network; they
    are studied where the configuration names them.

    Args:
        network: its settings in the configuration's ``networks``.
        config: the configuration, as `validate` returns it.
    """
    chosen = network.get("layers")
    if isinstance(chosen, Mapping):
        return dict(chosen)
    info = info_of(network.get("data"), config)
    table = layer_table(network["architecture"], network["options"], info.shape if info else None)
    if chosen is None:
        return table
    table |= part_table(network["architecture"], network["options"])
    return {name: units for name, units in table.items() if name in chosen}


def removable(layers: Iterable[str]) -> list[str]:
    """Those of some studied layers that can lose units.

    Branches and blocks leave whole, and single heads that share keys and values (``name:queries``) cannot leave at all.
    """
    return [layer for layer in layers if layer not in PARTS and ":" not in layer]


def info_of(data: str | None, config: Mapping[str, Any]) -> DataInfo | None:
    """What is known of a data set; of the user's own only what a text tells that can be read."""
    if data is None or data not in config["datasets"]:
        return DATASETS.get(data or "")
    try:
        return text_info(data, config["datasets"][data])
    except (ShapPruneError, KeyError):  # the data set's own checks tell why
        return None


def has_tokens(data: str | None, config: Mapping[str, Any]) -> bool | None:
    """Whether a data set has sequences of tokens in the place of images; None of one that has a mistake of its own."""
    own, known = config["datasets"].get(data), DATASETS.get(data or "")
    if own is None:
        return None if known is None else known.tokens
    return False if isinstance(own, str) else True if "source" in own else None


def infos(networks: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]) -> dict[str, DataInfo]:
    """The known data sets of networks, by name."""
    found = {network.get("data"): info_of(network.get("data"), config) for network in networks.values()}
    return {name: info for name, info in found.items() if name is not None and info is not None}


def known_layers(config: Mapping[str, Any], untrained: bool = False) -> dict[str, dict[str, int]]:
    """The layers of every network that has no mistake of its own, of ``networks`` or of ``untrained.networks``."""
    layers = {}
    for name, network in (config["untrained"] if untrained else config)["networks"].items():
        try:
            layers[name] = layers_of(network, config)
        except (ShapPruneError, KeyError):  # the network's own checks tell why
            continue
    return layers
