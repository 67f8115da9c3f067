"""The configuration: what is refused and in which words, what is filled in, how studies are laid over one another."""

from __future__ import annotations

import contextlib
import copy
import datetime
import math
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shapprune.core.errors import ShapPruneError
from shapprune.workflow.study import config as study
from shapprune.workflow.study.config import ConfigError
from shapprune.workflow.study.layers import layers_of
from shapprune.workflow.study.schema import schema

ROOT = Path(__file__).resolve().parents[4]
NET = "networks.lenet5"
OWN = {"architecture": "my_package.models:build", "data": "mnist", "train": {"epochs": 1}}
SHA256 = 64 * "a"
GONE = object()
SMALL = {"splits.validation": 500, "curves.images": 360}


PROTOCOLS = ("fine_tune", "untrained", "compress")


@pytest.fixture
def default() -> dict:
    return study.read(ROOT / "config.yaml")


@pytest.fixture
def config(default) -> dict:
    """The default study without the protocols that name its networks and criteria."""
    return {key: value for key, value in default.items() if key not in PROTOCOLS}


def changed(config: dict, changes: dict) -> dict:
    """The configuration with other values at some dotted keys."""
    config = copy.deepcopy(config)
    for key, value in changes.items():
        *parents, name = key.split(".")
        holder = config
        for parent in parents:
            holder = holder[parent]
        if value is GONE:
            del holder[name]
        else:
            holder[name] = copy.deepcopy(value)
    return config


def problems(config: dict) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        study.validate(config)
    return caught.value.problems


BAD = [
    # the changes, the key of the mistake, what its sentence must say
    ({"studdy": "x"}, "studdy", "unknown key; did you mean 'study'? allowed: compress, criteria"),
    ({"study": "a/b"}, "study", "'a/b' is not a name of letters, digits"),
    ({"study": "name\n"}, "study", "is not a name of letters"),
    ({"study": 7}, "study", "7 is not text"),
    ({"device": "gpu"}, "device", "'gpu' is unknown; did you mean 'cpu'? allowed: auto, cpu, cuda"),
    ({"networks": GONE}, "networks", "missing"),
    ({"networks": {}}, "networks", "is empty"),
    ({"networks": None}, "networks", "an empty value is not a mapping"),
    ({"networks": ["lenet5"]}, "networks", "['lenet5'] is not a mapping"),
    ({"networks.a b": OWN | {"layers": {"c": 1}}}, "networks.a b", "'a b' is not a name of letters"),
    ({"networks./etc": OWN | {"layers": {"c": 1}}}, "networks./etc", "'/etc' is not a name of letters"),
    ({f"{NET}.train": GONE, f"{NET}.trian": {}}, f"{NET}.trian", "unknown key; did you mean 'train'? allowed: arch"),
    ({f"{NET}.train": GONE}, NET, "give either 'train' or 'weights'"),
    (
        {f"{NET}.seeds": [0], f"{NET}.weights": {"url": "https://x.org/w", "sha256": SHA256}},
        NET,
        "give either 'train' or 'weights', not both",
    ),
    ({f"{NET}.data": GONE}, f"{NET}.data", "missing"),
    (
        {f"{NET}.data": "fashion-minst"},
        f"{NET}.data",
        "unknown data set 'fashion-minst'; did you mean 'fashion-mnist'?",
    ),
    ({f"{NET}.data": "digits"} | SMALL, f"{NET}.data", "lenet5 takes images at least 16 x 16 pixels, not 1 x 8 x 8"),
    ({f"{NET}.architecture": "lenet"}, f"{NET}.architecture", "'lenet'; did you mean 'lenet5'? allowed: fmnist_cnn"),
    (
        {f"{NET}.architecture": "my.models:"},
        f"{NET}.architecture",
        "'my.models:' is not the name of an architecture or",
    ),
    ({f"{NET}.architecture": "my/models.py:build"}, f"{NET}.architecture", "a function as package.module:function"),
    (
        {f"{NET}.options": {"width": 3}},
        f"{NET}.options.width",
        "unknown option of lenet5 'width'; did you mean 'widths'",
    ),
    ({f"{NET}.options": {"widths": [3]}}, f"{NET}.options.widths", "a list of 4 positive integers, not [3]"),
    ({f"{NET}.options": {"widths": math.inf}}, f"{NET}.options.widths", "inf is not a finite number"),
    (
        {f"{NET}.architecture": "mlp", f"{NET}.options": {"width": 9, "widths": [3, 4]}},
        f"{NET}.options",
        "either width or widths, not both",
    ),
    ({f"{NET}.seeds": []}, f"{NET}.seeds", "is empty"),
    ({f"{NET}.seeds": [0, 1, 0]}, f"{NET}.seeds", "0 is there twice"),
    ({f"{NET}.seeds": [-1]}, f"{NET}.seeds[0]", "-1 is not at least 0"),
    ({f"{NET}.seeds": [True]}, f"{NET}.seeds[0]", "true is not a whole number"),
    ({f"{NET}.seeds": 3}, f"{NET}.seeds", "3 is not a list"),
    ({f"{NET}.layers": ["conv1", "conv9"]}, f"{NET}.layers", "'conv9' is not a layer of lenet5; did you mean 'conv"),
    ({f"{NET}.layers": ["fc1", "fc1"]}, f"{NET}.layers", "'fc1' is there twice"),
    ({f"{NET}.layers": []}, f"{NET}.layers", "is empty"),
    ({f"{NET}.layers": "conv1"}, f"{NET}.layers", "'conv1' is not a list or a mapping"),
    (
        {f"{NET}.layers": {"conv1": 10}},
        f"{NET}.layers",
        "the units of lenet5 are known; list only the names, as [conv1]",
    ),
    ({"networks.own": OWN}, "networks.own.layers", "list them with their units, e.g. layers: {conv1: 20"),
    ({"networks.own": OWN | {"layers": ["conv1"]}}, "networks.own.layers", "list them with their units"),
    ({"networks.own": OWN | {"layers": {"conv1": 0}}}, "networks.own.layers.conv1", "0 is not at least 1"),
    ({"networks.own": OWN | {"layers": {"a/b": 1}}}, "networks.own.layers.a/b", "is not the name of a module"),
    ({f"{NET}.train.epochs": GONE}, f"{NET}.train.epochs", "missing"),
    ({f"{NET}.train.epochs": 12.0}, f"{NET}.train.epochs", "12.0 is not a whole number"),
    ({f"{NET}.train.epochs": -1}, f"{NET}.train.epochs", "-1 is not at least 0"),
    ({f"{NET}.train.lr": "1e-3"}, f"{NET}.train.lr", "'1e-3' is not a number; numbers are written"),
    ({f"{NET}.train.lr": "fast"}, f"{NET}.train.lr", "'fast' is not a number"),
    ({f"{NET}.train.lr": 0}, f"{NET}.train.lr", "0 is not above 0"),
    ({f"{NET}.train.lr": math.nan}, f"{NET}.train.lr", "nan is not a finite number"),
    ({f"{NET}.train.lr": True}, f"{NET}.train.lr", "true is not a number"),
    ({f"{NET}.train.momentum": 1}, f"{NET}.train.momentum", "1 is not at least 0 and below 1"),
    ({f"{NET}.train.gamma": 2}, f"{NET}.train.gamma", "2 is not above 0 and at most 1"),
    ({f"{NET}.train.optimizer": "adamax"}, f"{NET}.train.optimizer", "did you mean 'adam"),
    ({f"{NET}.train.optimizer": 1}, f"{NET}.train.optimizer", "1 is not text"),
    ({f"{NET}.train.augment": ["flip", "crops"]}, f"{NET}.train.augment[1]", "did you mean 'crop'?"),
    ({f"{NET}.train.schedule": "step"}, f"{NET}.train.milestones", "the schedule 'step' needs at least one"),
    ({f"{NET}.train.milestones": [12]}, f"{NET}.train.milestones", "12 is not below the 12 epochs"),
    ({f"{NET}.train.warmup": 20}, f"{NET}.train.warmup", "20 is not below the 12 epochs"),
    ({f"{NET}.train.momentum": 0, f"{NET}.train.nesterov": True}, f"{NET}.train.nesterov", "needs a momentum above 0"),
    ({"datasets": {"mine": "no colon"}}, "datasets.mine", "'no colon' is not a function as package.module:function"),
    ({"datasets": {"mnist": "my.data:load"}}, "datasets.mnist", "comes with the package"),
    ({"splits.validation": 12000}, "splits.validation", "12000 leaves no image to train on, fashion-mnist-sample"),
    ({"splits.validation": datetime.date(2020, 1, 1)}, "splits.validation", "2020-01-01 is a date; put it in quotes"),
    ({"splits": [1000]}, "splits", "[1000] is not a mapping"),
    ({"scoring.images": 5000}, "scoring.images", "5000 is more than the 1000 validation images"),
    ({"scoring.images": 0}, "scoring.images", "0 is not at least 1"),
    ({"scoring.trials": "3"}, "scoring.trials", "'3' is not a whole number; numbers are written without quotes"),
    ({"scoring.payoff": "acuracy"}, "scoring.payoff", "did you mean 'accuracy'? allowed: accuracy, loss, margin"),
    (
        {"scoring.payoff": "accuracy"},
        "scoring.payoff",
        "has no gradient, which is needed by sensitivity of criteria, taylor",
    ),
    ({"criteria": {}}, "criteria", "is empty"),
    ({"criteria.apoz": None}, "criteria.apoz", "write {}"),
    ({"criteria.tailor": {}}, "criteria.tailor.method", "unknown criterion 'tailor'; did you mean 'taylor'?"),
    ({"criteria.mine": {"method": "permutations"}}, "criteria.mine.method", "did you mean 'permutation'?"),
    ({"criteria.mine": {"method": 5}}, "criteria.mine.method", "5 is not text"),
    (
        {"criteria.weight-l1.nrom": "l1"},
        "criteria.weight-l1.nrom",
        "unknown option of weight-norm; did you mean 'norm'?",
    ),
    ({"criteria.weight-l1.norm": "l3"}, "criteria.weight-l1.norm", "'l3' is not one of l1, l2"),
    ({"criteria.shapley.permutations": 0}, "criteria.shapley.permutations", "0 is below 1"),
    ({"criteria.shapley.permutations": 2.5}, "criteria.shapley.permutations", "2.5 is not of type int"),
    (
        {"criteria.shapley.aggregates": ["median"]},
        "criteria.shapley.aggregates[0]",
        "'median' is not an aggregate such",
    ),
    ({"criteria.shapley.aggregates": ["p101"]}, "criteria.shapley.aggregates[0]", "'p101' is not an aggregate"),
    ({"criteria.shapley.trials": 0}, "criteria.shapley.trials", "0 is not at least 1"),
    ({"criteria.exact": {}}, "criteria.exact", "at most 20 units, but more are in fc1 of lenet5, fc2 of lenet5"),
    (
        {"criteria.slimming": {"method": "batchnorm-scale"}},
        "criteria.slimming",
        "batchnorm-scale needs a BatchNorm, but none follows conv1 of lenet5, conv2 of lenet5, fc1 of lenet5, fc2 of",
    ),
    (
        {"criteria.again": {"method": "rescored", "of": "exact"}},
        "criteria.again",
        "exact takes at most 20 units, but more are in fc1 of lenet5",
    ),
    ({"criteria.again": {"method": "rescored", "of": "exat"}}, "criteria.again.of", "did you mean 'exact'?"),
    (
        {"criteria.grasp": {}, "scoring.payoff": "margin"},
        "scoring.payoff",
        "'margin' is not what grasp of criteria is defined for; allowed: loss",
    ),
    ({"criteria.grasp": {"temperature": 0}}, "criteria.grasp.temperature", "0 is below 0.001"),
    ({"curves.images": 2001}, "curves.images", "2001 is more than the 2000 test images of fashion-mnist-sample"),
    ({"oracle.max_units": 21}, "oracle.max_units", "21 is not between 1 and 20"),
    ({"oracle.images": 1001}, "oracle.images", "1001 is more than the 1000 validation images"),
    ({"low_data.ratios": [0.5, 1.5]}, "low_data.ratios[1]", "1.5 is not strictly between 0 and 1"),
    ({"low_data.ratios": [1]}, "low_data.ratios[0]", "1 is not strictly between 0 and 1"),
    ({"low_data.images": 2000}, "low_data.images", "2000 leaves no test image to evaluate on"),
    ({"low_data.test_images": 1901}, "low_data.test_images", "1901 is more than the 1900 test images of fashion-mnist"),
    ({"low_data.test_images": "some"}, "low_data.test_images", "'some' is not a number of images from 1 on, or all"),
    ({"low_data.skip": ["conv3"]}, "low_data.skip", "'conv3' is a studied layer of no network; did you mean 'conv"),
    ({"low_data.criteria": ["tailor"]}, "low_data.criteria", "'tailor' is not in criteria; did you mean 'taylor'?"),
]

WEIGHTS = {f"{NET}.train": GONE, f"{NET}.seeds": [0]}
BAD += [
    (WEIGHTS | {f"{NET}.weights": "nowhere.safetensors"}, f"{NET}.weights", "there is no file 'nowhere.safetensors'"),
    (WEIGHTS | {f"{NET}.weights": "../w.safetensors"}, f"{NET}.weights", "leads out of the project"),
    (WEIGHTS | {f"{NET}.weights": 3}, f"{NET}.weights", "3 is not text or a mapping"),
    (WEIGHTS | {f"{NET}.weights": {"url": "https://x.org/w"}}, f"{NET}.weights.sha256", "missing"),
    (WEIGHTS | {f"{NET}.weights": {"url": "x.org/w", "sha256": SHA256}}, f"{NET}.weights.url", "https://"),
    (
        WEIGHTS | {f"{NET}.weights": {"url": "https://x.org/w", "sha256": "abc"}},
        f"{NET}.weights.sha256",
        "'abc' is not a SHA-256 of 64 hexadecimal digits",
    ),
    (
        WEIGHTS | {f"{NET}.weights": {"url": "https://x.org/w", "sha256": SHA256}, f"{NET}.seeds": [0, 1]},
        f"{NET}.seeds",
        "[0, 1] are several",
    ),
]


@pytest.mark.parametrize(("changes", "key", "fragment"), BAD, ids=lambda each: each if isinstance(each, str) else "")
def test_a_mistake_is_told_in_one_sentence(config, changes, key, fragment):
    (sentence,) = problems(changed(config, changes))
    assert sentence.startswith(f"{key}: ")
    assert fragment in sentence
    for word in ("instance", "schema", "None of", "is not valid under", "does not match", "'object'"):
        assert word not in sentence


def test_all_mistakes_are_told_at_once(config):
    wrong = {
        f"{NET}.layers": ["conv8", "conv9"],
        f"{NET}.train.lr": "high",
        "splits": None,
        "scoring.images": 1001,
        "low_data.ratios": [2, 0.5, -1],
        "low_data.criteria": ["shap"],
        "criteria.taylor.sign": True,
    }
    found = problems(changed(config, wrong))
    assert sorted(each.partition(": ")[0] for each in found) == sorted(
        [
            *(f"{NET}.layers", f"{NET}.layers", f"{NET}.train.lr", "splits", "scoring.images"),
            *("low_data.ratios[0]", "low_data.ratios[2]", "low_data.criteria", "criteria.taylor.sign"),
        ]
    )


def test_criteria_of_untrained_networks_must_fit_them_too(config):
    vgg = {"networks": {"vgg": {"architecture": "vgg16", "data": "cifar10", "train": {"epochs": 1}}}}
    mlp = {"mlp": {"architecture": "mlp", "data": "mnist"}}
    vgg["networks"]["vgg"]["layers"] = ["features.0", "features.3"]
    vgg["criteria"] = {"batchnorm-scale": {}, "random": {}}
    study.validate(vgg | {"untrained": {"networks": mlp, "criteria": ["random"]}})
    (found,) = problems(vgg | {"untrained": {"networks": mlp, "criteria": ["batchnorm-scale"]}})
    assert found.startswith("criteria.batchnorm-scale: ")
    assert "none follows fc1 of mlp, fc2 of mlp; choose other 'layers'" in found


def test_what_follows_from_a_mistake_is_not_told(config):
    # Which layers there are, which options a method takes and how many images are held back is not known here.
    wrong = {
        f"{NET}.architecture": "lenet6",
        f"{NET}.layers": ["conv9"],
        "low_data.skip": ["conv1"],
        "criteria.mine": {"method": 4},
        "low_data.criteria": ["mine"],
        "splits.validation": "many",
    }
    found = [each.partition(": ")[0] for each in problems(changed(config, wrong))]
    assert sorted(found) == ["criteria.mine.method", f"{NET}.architecture", "splits.validation"]


JUNK = [None, True, 0, -1.5, math.nan, "", "x", [], [None], [[1]], {}, {"x": None}]


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_whatever_a_key_holds_there_is_no_traceback(default, junk):
    config = default
    config["networks"]["own"] = OWN | {"layers": {"conv1": 3}, "weights": {"url": "https://x.org/w", "sha256": SHA256}}
    config["datasets"]["mine"] = "my.data:load"

    def keys(value: object, key: str = "") -> Iterator[str]:
        for name, each in value.items() if isinstance(value, dict) else ():
            yield f"{key}{name}"
            yield from keys(each, f"{key}{name}.")

    for key in keys(config):
        with contextlib.suppress(ConfigError):
            study.validate(changed(config, {key: junk}))


def test_keys_that_are_not_text(config):
    config["networks"][20] = config["networks"]["lenet5"]
    config[True] = 1
    found = problems(config)
    assert "networks.20: a key is text, not 20; put it in quotes" in found
    assert "true: a key is text, not true; put it in quotes" in found


def test_error_reads_well(config):
    one, two = ConfigError(["a: wrong"]), ConfigError(["a: wrong", "b: wrong too"])
    assert str(one) == "a: wrong"
    assert str(two) == "config: 2 mistakes\n  a: wrong\n  b: wrong too"
    assert pickle.loads(pickle.dumps(two)).problems == two.problems
    assert isinstance(two, ShapPruneError)


def test_the_default_study_is_valid(default):
    config = default
    before = copy.deepcopy(config)
    full = study.validate(config)
    assert config == before
    assert study.validate(full) == full
    assert (
        full["networks"]["lenet5"]["train"] | config["networks"]["lenet5"]["train"]
        == full["networks"]["lenet5"]["train"]
    )
    assert layers_of(full["networks"]["lenet5"], full) == {"conv1": 10, "conv2": 20, "fc1": 100, "fc2": 25}


def test_defaults_take_the_place_of_what_is_left_out(config):
    least = {
        "networks": {"net": {"architecture": "lenet5", "data": "mnist", "train": {"epochs": 1}}},
        "criteria": {"permutation": {}, "weight_norm": {}},
    }
    full = study.validate(least)
    for name, rule in schema()["properties"].items():
        for key, each in rule.get("properties", {}).items():
            if "default" in each and key != "train":
                assert full[name][key] == each["default"]
    recipe = {
        key: each["default"] for key, each in schema()["$defs"]["recipe"]["properties"].items() if "default" in each
    }
    assert full["networks"]["net"].pop("train") == recipe | {"epochs": 1}
    for section in ("fine_tune", "compress"):
        assert full[section]["train"] == recipe | schema()["properties"][section]["properties"]["train"]["default"]
    assert full["networks"]["net"] == {"architecture": "lenet5", "data": "mnist", "options": {}, "seeds": [0]}
    assert full["criteria"]["permutation"] == {
        "method": "permutation",
        "trials": 3,
        "aggregates": ["mean"],
        "permutations": 5,
        "shared": False,
        "antithetic": False,
        "settle": [],
        "settle_by": "mean",
        "depth": 1.0,
    }
    assert full["criteria"]["weight_norm"]["trials"] == 1
    assert full["low_data"]["criteria"] == ["permutation", "weight_norm"]


def test_trials_of_a_criterion(config):
    full = study.validate(changed(config, {"scoring.trials": 7, "criteria.taylor.trials": 2}))
    trials = {name: entry["trials"] for name, entry in full["criteria"].items()}
    assert (trials["shapley"], trials["taylor"], trials["apoz"]) == (7, 2, 1)


def test_fractions_are_floats_however_they_are_written(config):
    full = study.validate(changed(config, {f"{NET}.train.weight_decay": 0}))
    assert isinstance(full["networks"]["lenet5"]["train"]["weight_decay"], float)


@pytest.mark.parametrize("aggregate", ["mean", "abs", "mean+2std", "mean+0.5std", "p97.7", "p5", "p100"])
def test_aggregates(config, aggregate):
    study.validate(changed(config, {"criteria.taylor.aggregates": [aggregate]}))


def test_weights_instead_of_a_recipe(config, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.touch()
    for weights in (str(path), {"url": "https://example.org/w.safetensors", "sha256": SHA256}):
        full = study.validate(changed(config, WEIGHTS | {f"{NET}.weights": weights}))
        assert full["networks"]["lenet5"]["weights"] == weights
        assert "train" not in full["networks"]["lenet5"]


def test_own_architecture_and_own_data(config):
    layers = {"features.3": 12, "conv1": 6}
    own = OWN | {"data": "mine", "layers": layers, "options": {"anything": [1, {"goes": True}]}}
    changes = {"networks": {"own": own}, "datasets": {"mine": "my.data:load"}, "curves.images": 10**6}
    full = study.validate(changed(config, changes))  # of data of one's own, sizes are not known
    assert list(layers_of(full["networks"]["own"], full).items()) == list(layers.items())


def test_layers_are_in_forward_order(config):
    full = study.validate(changed(config, {f"{NET}.layers": ["fc1", "conv1"]}))
    assert list(layers_of(full["networks"]["lenet5"], full).items()) == [("conv1", 10), ("fc1", 100)]


def test_options_of_a_criterion(config):
    full = study.validate(config)
    assert study.options_of(full["criteria"]["weight-l2"]) == {"norm": "l2"}


ESTIMATOR = "estimators.compared.shapley"
PROTOCOL_MISTAKES = [
    ({ESTIMATOR: {"method": "permutatoin"}}, f"{ESTIMATOR}.method", "did you mean 'permutation'?"),
    ({ESTIMATOR: {"method": "permutation", "sharde": True}}, f"{ESTIMATOR}.sharde", "did you mean 'shared'?"),
    (
        {ESTIMATOR: {"method": "permutation", "over": {"permutation": [1]}}},
        f"{ESTIMATOR}.over.permutation",
        "unknown option of permutation; did you mean 'permutations'?",
    ),
    (
        {ESTIMATOR: {"method": "permutation", "over": {"permutations": [3, 0]}}},
        f"{ESTIMATOR}.over.permutations",
        "0 is below 1",
    ),
    (
        {ESTIMATOR: {"method": "permutation", "over": {"permutations": [1], "depth": [0.5]}}},
        f"{ESTIMATOR}.over",
        "has the entries permutations, depth, but one is allowed",
    ),
    (
        {ESTIMATOR: {"method": "batchnorm-scale"}},
        ESTIMATOR,
        "batchnorm-scale needs a BatchNorm, but none follows conv1 of lenet5; choose",
    ),
    ({"estimators.max_units": 100, ESTIMATOR: {"method": "exact"}}, ESTIMATOR, "but more are in fc1 of lenet5, fc2"),
    ({"estimators.repetitions": 0}, "estimators.repetitions", "0 is not at least 1"),
    ({"fine_tune.criteria": ["tailor"]}, "fine_tune.criteria", "'tailor' is not in low_data.criteria; did you mean"),
    ({"fine_tune.ratios": [0.3]}, "fine_tune.ratios", "0.3 is not one of low_data.ratios: 0.25, 0.5"),
    ({"fine_tune.trials": 4}, "fine_tune.trials", "4 is more than the 3 of low_data.trials"),
    ({"fine_tune.images": [0, 11001]}, "fine_tune.images", "11001 is more than the 11000 images"),
    ({"fine_tune.images": [0, "most"]}, "fine_tune.images[1]", "'most' is not a number of images from 0 on, or all"),
    ({"fine_tune.images": [-1]}, "fine_tune.images[0]", "-1 is not a number of images from 0 on, or all"),
    ({"fine_tune.train.lr": 0}, "fine_tune.train.lr", "0 is not above 0"),
    ({"fine_tune.train.schedule": "step"}, "fine_tune.train.milestones", "the schedule 'step' needs at least one"),
    ({"low_data.repair": ["batchnorm"]}, "fine_tune.criteria", "low_data.repair has no 'none'"),
    ({"low_data.repair": ["batch-norm", "none"]}, "low_data.repair[0]", "did you mean 'batchnorm'?"),
    ({"untrained.criteria": ["tailor"]}, "untrained.criteria", "'tailor' is not in criteria; did you mean 'taylor'?"),
    ({"untrained.images": 12001}, "untrained.images", "12001 is more than the 12000 training images"),
    ({"untrained.networks": {}}, "untrained.networks", "is empty, but untrained.criteria is not"),
    (
        {"untrained.networks.lenet5": {"architecture": "mlp", "data": "digits"}},
        "untrained.networks.lenet5",
        "one of networks has that name",
    ),
    (
        {"untrained.networks.mlp-untrained.architecture": "mpl"},
        "untrained.networks.mlp-untrained.architecture",
        "did you mean 'mlp'?",
    ),
    ({"compress.criteria": ["tailor"]}, "compress.criteria", "'tailor' is not in criteria; did you mean 'taylor'?"),
    ({"compress.sizes": {}}, "compress.sizes", "is empty, but compress.criteria is not"),
    ({"compress.sizes.half": {}}, "compress.sizes.half", "give either 'ratio' or 'widths' or 'parameters' or 'macs'"),
    ({"compress.sizes.half.macs": 3}, "compress.sizes.half", "'macs', not both"),
    ({"compress.sizes.half.ratio": 1}, "compress.sizes.half.ratio", "1 is not strictly between 0 and 1"),
    (
        {"compress.sizes.half": {"widths": {"conv1": 11}}},
        "compress.sizes.half.widths.conv1",
        "11 is more than the 10 units it has in lenet5",
    ),
    (
        {"compress.sizes.half": {"widths": {"conv3": 1}}},
        "compress.sizes.half.widths",
        "'conv3' is not a studied layer of lenet5; did you mean 'conv",
    ),
    ({"compress.sizes.half.skip": ["conv"]}, "compress.sizes.half.skip", "'conv' is not a studied layer of lenet5"),
    ({"compress.sizes.half.networks": ["lenet"]}, "compress.sizes.half.networks", "did you mean 'lenet5'?"),
    ({"compress.train.epochs": GONE}, "compress.train.epochs", "missing"),
]


@pytest.mark.parametrize(
    ("changes", "key", "fragment"), PROTOCOL_MISTAKES, ids=lambda each: each if isinstance(each, str) else ""
)
def test_a_mistake_in_a_protocol_is_told_in_one_sentence(default, changes, key, fragment):
    test_a_mistake_is_told_in_one_sentence(default, changes, key, fragment)


def test_a_study_with_other_networks_or_criteria_has_its_own_protocols(default):
    for overlay in ({"networks": {}}, {"criteria": {"taylor": {}}}):
        merged = study.merge(default, overlay)
        assert not merged.keys() & set(PROTOCOLS)
        assert study.merge(default, overlay | {"compress": {"criteria": []}})["compress"] == {"criteria": []}
    assert study.merge(default, {"splits": {"validation": 3}}).keys() == default.keys()
    sizes = study.merge(default, {"compress": {"sizes": {"tiny": {"ratio": 0.9}}}})["compress"]["sizes"]
    assert sizes == {"tiny": {"ratio": 0.9}}  # names of one's own replace those of the default study


def test_merge():
    base = {
        "study": "a",
        "scoring": {"images": 1, "deep": {"x": 1, "y": 2}},
        "networks": {"n": 1},
        "criteria": {"c": 1},
    }
    overlay = {"scoring": {"images": 5, "deep": {"y": [3]}}, "networks": {"m": 2}, "oracle": {"images": 9}}
    before = copy.deepcopy((base, overlay))
    merged = study.merge(base, overlay)
    assert merged == {
        "study": "a",
        "scoring": {"images": 5, "deep": {"x": 1, "y": [3]}},
        "networks": {"m": 2},
        "criteria": {"c": 1},
        "oracle": {"images": 9},
    }
    merged["scoring"]["deep"]["y"].append(4)
    merged["criteria"]["d"] = 1
    assert (base, overlay) == before
    assert study.merge(base, {}) == base
    assert study.merge({"splits": 3}, {"splits": {"validation": 1}}) == {"splits": {"validation": 1}}


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        (b"a: 1\nb: [1, 2\n", ", line 3: "),
        (b"a: 1\n\tb: 2\n", ", line 2: found character '\\t'"),
        (b"a: 1\nb: c: 2\n", ", line 2: mapping values are not allowed here"),
        (b"- a\n- b\n", ", line 1: ['a', 'b'] is not a mapping"),
        (b"", ", line 1: an empty value is not a mapping"),
        (b"a: \xff\n", "invalid start byte"),
        (b"a: \x00\n", "special characters are not allowed"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_read_errors(tmp_path, text, fragment):
    path = tmp_path / "study.yaml"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(ShapPruneError) as caught:
        study.read(path)
    assert str(caught.value).startswith(str(path))
    assert fragment in str(caught.value)


def test_digest(config):
    full = study.validate(config)
    backwards = dict(reversed(full.items()))
    assert study.digest(backwards) == study.digest(full)
    assert study.digest(changed(full, {"scoring.images": 99})) != study.digest(full)
    assert study.digest({"a": 1}) == "015abd7f5cc5"


def test_reading_a_configuration_imports_nothing_heavy():
    heavy = "{'torch', 'pandas', 'sklearn', 'mlflow', 'matplotlib', 'snakemake'}"
    code = f"import sys, shapprune.workflow.study.config; sys.exit(bool({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
