"""Checks of a configuration beyond its structure: values that do not fit each other, the networks, or the data.

Each check yields the keys and sentences of the mistakes it finds. Its argument has passed the schema, or its faulty
values were removed; required keys may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from shapprune.core.errors import ShapPruneError, suggestion, unknown
from shapprune.core.games import PARTS
from shapprune.data.prepared import DataInfo
from shapprune.data.sets import DATASETS
from shapprune.networks.recipe import conflicts
from shapprune.networks.tables import ARCHITECTURES, layer_table, part_table
from shapprune.workflow.stages.inputs import text_files, text_info
from shapprune.workflow.stages.layers import has_tokens, info_of, infos, known_layers, removable
from shapprune.workflow.study.criteria_checks import check_criteria, check_estimators, check_methods, check_payoff
from shapprune.workflow.study.image_checks import check_images
from shapprune.workflow.study.parameter_checks import check_deactivation, check_quantisation
from shapprune.workflow.study.schema import Problem
from shapprune.workflow.study.unit_checks import check_probe, check_selective_tuning

_FEWEST = 100  # MACs or parameters; a smaller number was meant as percent, or as a share


def _check_datasets(config: Mapping[str, Any]) -> Iterator[Problem]:
    for name, own in config["datasets"].items():
        key = f"datasets.{name}"
        if name in DATASETS:
            yield key, "a data set of that name comes with the package; choose another name"
        if isinstance(own, Mapping) and "source" in own:
            missing = [problem for file in text_files(own) for problem in _check_file(f"{key}.source", file)]
            yield from missing or _unreadable(key, name, own)


def _unreadable(key: str, name: str, own: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        text_info(name, own)
    except ShapPruneError as error:
        yield key, str(error)


def _check_file(key: str, path: str) -> Iterator[Problem]:
    if ".." in Path(path).parts:
        yield key, f"{path!r} leads out of the project; give the whole path"
    elif not Path(path).is_file():
        yield key, f"there is no file {path!r} in {Path.cwd()}"


def _check_networks(config: Mapping[str, Any], where: str = "networks") -> Iterator[Problem]:
    known = [*DATASETS, *config["datasets"]]
    networks = config["networks"] if where == "networks" else config["untrained"]["networks"]
    if not config["networks"] and not config["untrained"]["criteria"]:
        yield "networks", "is empty, but at least one entry is needed where there are no untrained networks"
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
        if isinstance(weights, str):
            yield from _check_file(f"{key}.weights", weights)


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
    data, known = network.get("data"), ARCHITECTURES[architecture]
    if has_tokens(data, config) not in (None, known.tokens):
        kinds = ("images", "sequences of tokens")
        yield f"{key}.data", f"{architecture} takes {kinds[known.tokens]}, but {data} has {kinds[not known.tokens]}"
    elif info := info_of(data, config):
        yield from _refusal(f"{key}.data", architecture, options, info.shape)
    if isinstance(layers, Mapping):
        yield f"{key}.layers", f"the units of {architecture} are known; list only the names, as [{', '.join(layers)}]"
        return
    table = layer_table(architecture, options) | part_table(architecture, options)
    for layer in layers:
        if layer not in table and layer in PARTS:
            yield f"{key}.layers", f"{architecture} has no {layer} that can be skipped"
        elif layer not in table:
            yield f"{key}.layers", f"{layer!r} is not a layer of {architecture}{suggestion(layer, table)}"


def _refusal(key: str, architecture: str, options: Mapping[str, Any], *shape: tuple[int, ...]) -> Iterator[Problem]:
    try:
        layer_table(architecture, options, *shape)
    except ShapPruneError as error:
        yield key, str(error)


def _check_recipe(key: str, recipe: Mapping[str, Any]) -> Iterator[Problem]:
    yield from ((f"{key}.{name}", problem) for name, problem in conflicts(recipe))


def _check_counts(config: Mapping[str, Any]) -> Iterator[Problem]:
    validation = config["splits"]["validation"]
    for section in ("scoring", "oracle"):
        if (images := config[section]["images"]) > validation:
            yield f"{section}.images", f"{images} is more than the {validation} validation images of splits.validation"
    for name, info in infos(config["networks"], config).items():
        if validation >= info.train:
            yield "splits.validation", f"{validation} leaves no image to train on, {name} has {info.train}"
        if (images := config["curves"]["images"]) > info.test:
            yield "curves.images", f"{images} is more than the {info.test} test images of {name}"
        yield from _check_low_data_images(config["low_data"], name, info, info.train - validation)


def _check_low_data_images(low_data: Mapping[str, Any], name: str, info: DataInfo, most: int) -> Iterator[Problem]:
    """Check how many images score and measure, of a data set with ``most`` images to train on."""
    images, measuring, left = low_data["images"], low_data["test_images"], info.test
    if low_data["scored_on"] == "test":
        left -= images
        if left < 1:
            yield "low_data.images", f"{images} leaves no test image to evaluate on, {name} has {info.test}"
            return
    elif images > most > 0:
        yield "low_data.images", f"{images} is more than the {most} images of {name} that are left to train on"
    if measuring != "all" and measuring > left:
        yield "low_data.test_images", f"{measuring} is more than the {left} test images of {name} that do not score"


def _check_low_data(config: Mapping[str, Any]) -> Iterator[Problem]:
    low_data, networks = config["low_data"], known_layers(config)
    layers = {layer for each in networks.values() for layer in each}
    if len(networks) == len(config["networks"]):
        for layer in low_data["skip"]:
            if layer not in layers:
                yield "low_data.skip", f"{layer!r} is a studied layer of no network{suggestion(layer, layers)}"
    for name in ("low_data", "untrained", "compress", "deactivation"):
        yield from _check_names(f"{name}.criteria", config[name].get("criteria", []), config["criteria"], "criteria")


def _check_names(key: str, given: Iterable[str], known: Iterable[str], where: str) -> Iterator[Problem]:
    for name in given:
        if name not in known:
            yield key, f"{name!r} is not in {where}{suggestion(name, known)}"


def _check_fine_tune(config: Mapping[str, Any]) -> Iterator[Problem]:
    section, low_data = config["fine_tune"], config["low_data"]
    known = low_data.get("criteria", config["criteria"])
    yield from _check_names("fine_tune.criteria", section["criteria"], known, "low_data.criteria")
    yield from _check_recipe("fine_tune.train", section["train"])
    if not section["criteria"]:
        return
    for ratio in section.get("ratios", []):
        if ratio not in low_data["ratios"]:
            yield (
                "fine_tune.ratios",
                f"{ratio} is not one of low_data.ratios: {', '.join(map(str, low_data['ratios']))}",
            )
    if section.get("trials", 0) > low_data["trials"]:
        yield "fine_tune.trials", f"{section['trials']} is more than the {low_data['trials']} of low_data.trials"
    if "none" not in low_data["repair"]:
        yield "fine_tune.criteria", "networks that were not repaired are trained, but low_data.repair has no 'none'"
    for name, info in infos(config["networks"], config).items():
        most = info.train - config["splits"]["validation"]
        for images in section["images"]:
            if images != "all" and images > most:
                yield "fine_tune.images", f"{images} is more than the {most} images of {name} that are left to train on"


def _check_untrained(config: Mapping[str, Any]) -> Iterator[Problem]:
    section = config["untrained"]
    yield from _check_networks(config, "untrained.networks")
    if section["criteria"] and not section["networks"]:
        yield "untrained.networks", "is empty, but untrained.criteria is not"
    for name, network in section["networks"].items():
        if name in config["networks"]:
            yield f"untrained.networks.{name}", "one of networks has that name; choose another"
        layers = network.get("layers", [])
        for layer in (each for each in layers if each not in removable(layers)):
            yield f"untrained.networks.{name}.layers", f"{layer!r} loses no units, so nothing is there to prune"
    for name, info in infos(section["networks"], config).items():
        if section["images"] > info.train:
            yield "untrained.images", f"{section['images']} is more than the {info.train} training images of {name}"


def _check_compress(config: Mapping[str, Any]) -> Iterator[Problem]:
    section, networks = config["compress"], known_layers(config)
    yield from _check_recipe("compress.train", section["train"])
    if section["criteria"] and not section["sizes"]:
        yield "compress.sizes", "is empty, but compress.criteria is not"
    networks = {net: {layer: table[layer] for layer in removable(table)} for net, table in networks.items()}
    for name, size in section["sizes"].items():
        key = f"compress.sizes.{name}"
        yield from _check_names(f"{key}.networks", size.get("networks", []), config["networks"], "networks")
        if bare := [net for net in size.get("networks", networks) if networks.get(net, {0: 0}) == {}]:
            yield f"{key}.networks", f"none of the 'layers' of {', '.join(bare)} loses units; name other networks"
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


def _check_budgets(config: Mapping[str, Any]) -> Iterator[Problem]:
    section = config["budgets"]
    for size in section["sizes"]:
        if 1 <= size < _FEWEST and section["measure"] != "megabytes":
            yield "budgets.sizes", f"{size:g} {section['measure']} are fewer than a network has; a share is below 1"
    if "train" in section:
        yield from _check_recipe("budgets.train", section["train"])
    if section["methods"]:
        yield from check_images("budgets", config)


def _check_tokens(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Check that nothing that is done to images is asked for of networks that take sequences of tokens."""
    of_tokens = {name: each for name, each in config["networks"].items() if has_tokens(each.get("data"), config)}
    trained = {f"networks.{name}": each for name, each in of_tokens.items() if "train" in each}
    if of_tokens:
        trained |= {name: config[name] for name in ("fine_tune", "compress") if config[name]["criteria"]}
        budgets = config["budgets"]
        trained |= {"budgets": budgets} if budgets["methods"] and "train" in budgets else {}
    for key, each in trained.items():
        if changes := each["train"]["augment"]:
            yield f"{key}.train.augment", f"{', '.join(changes)} change images, but {', '.join(of_tokens)} takes tokens"


CHECKS = (
    *(_check_datasets, _check_tokens, _check_networks, _check_counts, check_criteria, check_estimators, check_payoff),
    *(_check_low_data, _check_fine_tune, _check_untrained, _check_compress, _check_budgets, check_methods),
    *(check_deactivation, check_quantisation, check_selective_tuning, check_probe),
)
