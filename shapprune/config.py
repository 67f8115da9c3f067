"""The configuration of a study: read it, lay one over another, check it and fill in what it leaves out.

`shapprune.schema` checks each key for itself; what concerns several keys at once, or the data sets, networks and
criteria there are, is checked by the functions in `_CHECKS`. Nothing here imports torch, since every Snakemake process
reads the configuration.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from shapprune import keys
from shapprune.criteria.catalog import ENTRY_KEYS, check_options, lookup, options_of
from shapprune.data import DATASETS, DataInfo
from shapprune.errors import ShapPruneError, suggestion, unknown
from shapprune.networks.tables import ARCHITECTURES, layer_table
from shapprune.schema import FREE_MAPS, Problem, check_structure, join, show


_OF_A_STUDY = ("fine_tune", "untrained", "compress")


class ConfigError(ShapPruneError):
    """All mistakes of a configuration.

    Attributes:
        problems: one sentence each, which starts with the dotted key.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return "\n  ".join([f"config: {len(self.problems)} mistakes", *self.problems])


def read(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ShapPruneError: there is no such file, it is not YAML, or it holds something else than a mapping.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ShapPruneError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise ShapPruneError(f"{path}{f', line {mark.line + 1}' if mark else ''}: {reason}") from error
    if not isinstance(content, dict):
        raise ShapPruneError(f"{path}, line 1: {show(content)} is not a mapping of keys to values")
    return content


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """A study laid over another; both are left as they are.

    Mappings are merged and everything else is replaced, as are those of the user's own names (`FREE_MAPS`): a study has
    its own networks, datasets, criteria ... The protocols in `_OF_A_STUDY` name networks, criteria and sizes, so a study
    with other networks or criteria has its own of them or none.
    """
    if {"networks", "criteria"} & overlay.keys():
        base = {key: value for key, value in base.items() if key not in _OF_A_STUDY}
    return _merge(base, overlay)


def validate(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the configuration with all defaults filled in, those of the criteria's methods included.

    Raises:
        ConfigError: with every mistake that was found.
    """
    if config.get("tracking") is False:
        config = {**config, "tracking": "off"}  # YAML reads a bare `off` as false
    problems, full = check_structure(config)
    problems = join(problems, (problem for check in _CHECKS for problem in check(full)))
    if problems:
        raise ConfigError(f"{key}: {text}" for key, text in problems)
    for name, entry in full["criteria"].items():
        method = entry.setdefault("method", name)
        entry.setdefault("trials", full["scoring"]["trials"] if lookup(method).random else 1)
        entry |= check_options(method, options_of(entry))
    full["low_data"].setdefault("criteria", list(full["criteria"]))
    for key in ("ratios", "trials"):
        full["fine_tune"].setdefault(key, full["low_data"][key])
    return full


def layers_of(network: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, int]:
    """The layers of a network that are studied and their units, from input to output.

    Args:
        network: an entry of the configuration's ``networks``.
        config: the configuration, as `validate` returns it.
    """
    chosen = network.get("layers")
    if isinstance(chosen, Mapping):
        return dict(chosen)
    info = _info(network.get("data"), config)
    table = layer_table(network["architecture"], network["options"], info.shape if info else None)
    return {name: units for name, units in table.items() if chosen is None or name in chosen}


def digest(config: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that stand for the configuration, whatever the order of its keys."""
    return keys.digest(config)[:12]


def _merge(base: Mapping[str, Any], overlay: Mapping[str, Any], key: str = "") -> dict[str, Any]:
    merged = deepcopy(dict(base))
    for name, value in overlay.items():
        inner = f"{key}.{name}".lstrip(".")
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping) and inner not in FREE_MAPS
        merged[name] = _merge(merged[name], value, inner) if both else deepcopy(value)
    return merged


def _info(data: str | None, config: Mapping[str, Any]) -> DataInfo | None:
    """What is known of a data set; nothing of the user's own."""
    return None if data is None or data in config["datasets"] else DATASETS.get(data)


def _infos(networks: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]) -> dict[str, DataInfo]:
    """The known data sets of networks, by name."""
    found = {network.get("data"): _info(network.get("data"), config) for network in networks.values()}
    return {name: info for name, info in found.items() if name is not None and info is not None}


def _known_layers(config: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """The layers of every network that has no mistake of its own."""
    layers = {}
    for name, network in config["networks"].items():
        try:
            layers[name] = layers_of(network, config)
        except (ShapPruneError, KeyError):  # the network's own checks tell why
            continue
    return layers


# Each check yields the key and the sentence of the mistakes it finds. The configuration has passed the schema, or has
# been mended to, but for required keys that may be missing.


def _check_datasets(config: Mapping[str, Any]) -> Iterator[Problem]:
    for name in config["datasets"]:
        if name in DATASETS:
            yield f"datasets.{name}", "a data set of that name comes with the package; choose another name"


def _check_networks(config: Mapping[str, Any], where: str = "networks") -> Iterator[Problem]:
    known = [*DATASETS, *config["datasets"]]
    networks = config["networks"] if where == "networks" else config["untrained"]["networks"]
    for name, network in networks.items():
        key, data, weights = f"{where}.{name}", network.get("data"), network.get("weights")
        if data is not None and data not in known:
            yield f"{key}.data", str(unknown("data set", data, known))
        if "architecture" in network:
            yield from _check_architecture(key, network, config)
        if "train" in network:
            yield from _check_recipe(f"{key}.train", network["train"])
        if weights is not None and len(network["seeds"]) > 1:
            yield f"{key}.seeds", f"{network['seeds']} are several, but 'weights' are those of one training; give one"
        if isinstance(weights, str) and ".." in Path(weights).parts:
            yield f"{key}.weights", f"{weights!r} leads out of the project; give the whole path"
        elif isinstance(weights, str) and not Path(weights).is_file():
            yield f"{key}.weights", f"there is no file {weights!r} in {Path.cwd()}"


def _check_architecture(key: str, network: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Problem]:
    architecture, options, layers = network["architecture"], network["options"], network.get("layers", [])
    if ":" in architecture:
        if not isinstance(layers, Mapping):
            yield from _refusal(f"{key}.layers", architecture, options)
        return
    if architecture not in ARCHITECTURES:
        own = " or an own one as package.module:function"
        yield f"{key}.architecture", f"{unknown('architecture', architecture, ARCHITECTURES)}{own}"
        return
    single = [_refusal(f"{key}.options.{name}", architecture, {name: value}) for name, value in options.items()]
    if refused := [*chain.from_iterable(single)] or [*_refusal(f"{key}.options", architecture, options)]:
        yield from refused
        return
    if info := _info(network.get("data"), config):
        yield from _refusal(f"{key}.data", architecture, options, info.shape)
    if isinstance(layers, Mapping):
        yield f"{key}.layers", f"the units of {architecture} are known; list only the names, as [{', '.join(layers)}]"
        return
    table = layer_table(architecture, options)
    for layer in layers:
        if layer not in table:
            yield f"{key}.layers", f"{layer!r} is not a layer of {architecture}{suggestion(layer, table)}"


def _refusal(
    key: str, architecture: str, options: Mapping[str, Any], *shape: tuple[int, int, int]
) -> Iterator[Problem]:
    try:
        layer_table(architecture, options, *shape)
    except ShapPruneError as error:
        yield key, str(error)


def _check_recipe(key: str, train: Mapping[str, Any]) -> Iterator[Problem]:
    epochs, warmup = train.get("epochs", math.inf), train["warmup"]
    if train["nesterov"] and not train["momentum"]:
        yield f"{key}.nesterov", "true needs a momentum above 0"
    if train["schedule"] == "step" and not train["milestones"]:
        yield f"{key}.milestones", "is empty, but the schedule 'step' needs at least one epoch"
    for milestone in train["milestones"]:
        if milestone >= epochs:
            yield f"{key}.milestones", f"{milestone} is not below the {epochs} epochs of the training"
    if warmup and warmup >= epochs:
        yield f"{key}.warmup", f"{warmup} is not below the {epochs} epochs of the training"


def _check_counts(config: Mapping[str, Any]) -> Iterator[Problem]:
    validation = config["splits"]["validation"]
    for section in ("scoring", "oracle"):
        if (images := config[section]["images"]) > validation:
            yield f"{section}.images", f"{images} is more than the {validation} validation images of splits.validation"
    for name, info in _infos(config["networks"], config).items():
        if validation >= info.train:
            yield "splits.validation", f"{validation} leaves no image to train on, {name} has {info.train}"
        if (images := config["curves"]["images"]) > info.test:
            yield "curves.images", f"{images} is more than the {info.test} test images of {name}"
        if (images := config["low_data"]["images"]) >= info.test:
            yield "low_data.images", f"{images} leaves no test image to evaluate on, {name} has {info.test}"


def _check_criteria(config: Mapping[str, Any]) -> Iterator[Problem]:
    payoff, networks, without_gradient = config["scoring"]["payoff"], _known_layers(config), []
    for name, entry in config["criteria"].items():
        key, method = f"criteria.{name}", entry.get("method", name)
        try:
            criterion = lookup(method)
        except ShapPruneError as error:
            yield f"{key}.method", str(error)
            continue
        for option, value in options_of(entry).items():
            if option not in criterion.options:
                tail = suggestion(option, [*criterion.options, *ENTRY_KEYS])
                yield f"{key}.{option}", f"unknown option of {method}{tail}"
            elif wrong := criterion.options[option].check(value):
                yield f"{key}.{option}", wrong
        if criterion.gradient and payoff == "accuracy":
            without_gradient.append(name)
        most = criterion.max_units or math.inf
        wide = [f"{layer} of {net}" for net, layers in networks.items() for layer in layers if layers[layer] > most]
        if wide:
            yield key, f"{method} takes at most {most} units, but more are in {', '.join(wide)}; choose other 'layers'"
    if without_gradient:
        criteria = f"which {', '.join(without_gradient)} of criteria would need"
        yield "scoring.payoff", f"'accuracy' has no gradient, {criteria}; allowed: loss, margin"


def _check_low_data(config: Mapping[str, Any]) -> Iterator[Problem]:
    low_data, networks = config["low_data"], _known_layers(config)
    layers = {layer for each in networks.values() for layer in each}
    if len(networks) == len(config["networks"]):
        for layer in low_data["skip"]:
            if layer not in layers:
                yield "low_data.skip", f"{layer!r} is a studied layer of no network{suggestion(layer, layers)}"
    for section in ("low_data", "untrained", "compress"):
        yield from _check_names(
            f"{section}.criteria", config[section].get("criteria", []), config["criteria"], "criteria"
        )


def _check_names(key: str, given: Iterable[str], known: Iterable[str], where: str) -> Iterator[Problem]:
    for name in given:
        if name not in known:
            yield key, f"{name!r} is not in {where}{suggestion(name, known)}"


def _check_fine_tune(config: Mapping[str, Any]) -> Iterator[Problem]:
    asked, low_data = config["fine_tune"], config["low_data"]
    known = low_data.get("criteria", config["criteria"])
    yield from _check_names("fine_tune.criteria", asked["criteria"], known, "low_data.criteria")
    yield from _check_recipe("fine_tune.train", asked["train"])
    if not asked["criteria"]:
        return
    for ratio in asked.get("ratios", []):
        if ratio not in low_data["ratios"]:
            yield (
                "fine_tune.ratios",
                f"{ratio} is not one of low_data.ratios: {', '.join(map(str, low_data['ratios']))}",
            )
    if asked.get("trials", 0) > low_data["trials"]:
        yield "fine_tune.trials", f"{asked['trials']} is more than the {low_data['trials']} of low_data.trials"
    if "none" not in low_data["repair"]:
        yield "fine_tune.criteria", "networks that were not repaired are trained, but low_data.repair has no 'none'"
    for name, info in _infos(config["networks"], config).items():
        most = info.train - config["splits"]["validation"]
        for images in asked["images"]:
            if images != "all" and images > most:
                yield "fine_tune.images", f"{images} is more than the {most} images of {name} that are left to train on"


def _check_untrained(config: Mapping[str, Any]) -> Iterator[Problem]:
    asked = config["untrained"]
    yield from _check_networks(config, "untrained.networks")
    if asked["criteria"] and not asked["networks"]:
        yield "untrained.networks", "is empty, but untrained.criteria is not"
    for name in asked["networks"]:
        if name in config["networks"]:
            yield f"untrained.networks.{name}", "one of networks has that name; choose another"
    for name, info in _infos(asked["networks"], config).items():
        if asked["images"] > info.train:
            yield "untrained.images", f"{asked['images']} is more than the {info.train} training images of {name}"


def _check_compress(config: Mapping[str, Any]) -> Iterator[Problem]:
    asked, networks = config["compress"], _known_layers(config)
    yield from _check_recipe("compress.train", asked["train"])
    if asked["criteria"] and not asked["sizes"]:
        yield "compress.sizes", "is empty, but compress.criteria is not"
    for name, size in asked["sizes"].items():
        key = f"compress.sizes.{name}"
        yield from _check_names(f"{key}.networks", size.get("networks", []), config["networks"], "networks")
        for net in size.get("networks", networks):
            layers = networks.get(net, {})
            for layer, width in size.get("widths", {}).items():
                if layers and layer not in layers:
                    yield f"{key}.widths", f"{layer!r} is not a studied layer of {net}{suggestion(layer, layers)}"
                elif layers and width > layers[layer]:
                    yield f"{key}.widths.{layer}", f"{width} is more than the {layers[layer]} units it has in {net}"
            for layer in size["skip"]:
                if layers and layer not in layers:
                    yield f"{key}.skip", f"{layer!r} is not a studied layer of {net}{suggestion(layer, layers)}"


_CHECKS = (
    *(_check_datasets, _check_networks, _check_counts, _check_criteria),
    *(_check_low_data, _check_fine_tune, _check_untrained, _check_compress),
)
