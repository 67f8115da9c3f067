"""Mistakes that a key makes by itself: in its name, its type or its bounds; and the defaults of what is left out."""

from __future__ import annotations

import contextlib
import datetime
import math
from collections.abc import Iterator

import pytest

from shapprune.workflow.study import config as study
from shapprune.workflow.study.config import ConfigError
from shapprune.workflow.study.schema import schema
from tests.unit.workflow.study.mistakes import (
    ESTIMATOR,
    GONE,
    NET,
    OWN,
    SHA256,
    WEIGHTS,
    changed,
    problems,
    told_in_one_sentence,
)

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
        "low": 0.0,
    }
    assert full["criteria"]["weight_norm"]["trials"] == 1
    assert full["low_data"]["criteria"] == ["permutation", "weight_norm"]


def test_fractions_are_floats_however_they_are_written(config):
    full = study.validate(changed(config, {f"{NET}.train.weight_decay": 0}))
    assert isinstance(full["networks"]["lenet5"]["train"]["weight_decay"], float)


@pytest.mark.parametrize("aggregate", ["mean", "abs", "mean+2std", "mean+0.5std", "p97.7", "p5", "p100"])
def test_aggregates(config, aggregate):
    study.validate(changed(config, {"criteria.taylor.aggregates": [aggregate]}))


MISTAKES = [
    # the changes, the key of the mistake, what its sentence must name: the value, and what is allowed
    ({"studdy": "x"}, "studdy", "unknown key", "'study'", "compress, criteria"),
    ({"study": "a/b"}, "study", "'a/b'", "letters, digits"),
    ({"study": "name\n"}, "study", "'name\\n'"),
    ({"study": 7}, "study", "7", "text"),
    ({"device": "gpu"}, "device", "'gpu'", "'cpu'", "auto, cpu, cuda"),
    ({"networks": GONE}, "networks", "missing"),
    ({"networks": None}, "networks", "empty", "{}"),
    ({"networks": ["lenet5"]}, "networks", "['lenet5']", "mapping"),
    ({"networks.a b": OWN | {"layers": {"c": 1}}}, "networks.a b", "'a b'", "letters"),
    ({"networks./etc": OWN | {"layers": {"c": 1}}}, "networks./etc", "'/etc'", "letters"),
    ({"networks.NaN": OWN | {"layers": {"c": 1}}}, "networks.NaN", "'NaN'", "nan, null or true"),
    ({"criteria.true": {"method": "taylor"}}, "criteria.true", "'true'", "nan, null or true"),
    ({f"{NET}.train": GONE, f"{NET}.trian": {}}, f"{NET}.trian", "unknown key", "'train'", "architecture, data"),
    ({f"{NET}.train": GONE}, NET, "'train'", "'weights'"),
    (
        {f"{NET}.seeds": [0], f"{NET}.weights": {"url": "https://x.org/w", "sha256": SHA256}},
        NET,
        "'train'",
        "'weights'",
        "not both",
    ),
    ({f"{NET}.data": GONE}, f"{NET}.data", "missing"),
    ({f"{NET}.architecture": "my.models:"}, f"{NET}.architecture", "'my.models:'", "package.module:function"),
    (
        {f"{NET}.architecture": "my/models.py:build"},
        f"{NET}.architecture",
        "'my/models.py:build'",
        "package.module:function",
    ),
    ({f"{NET}.options": {"widths": math.inf}}, f"{NET}.options.widths", "inf", "finite"),
    ({f"{NET}.seeds": []}, f"{NET}.seeds", "empty"),
    ({f"{NET}.seeds": [0, 1, 0]}, f"{NET}.seeds", "0", "twice"),
    ({f"{NET}.seeds": [-1]}, f"{NET}.seeds[0]", "-1", "at least 0"),
    ({f"{NET}.seeds": [True]}, f"{NET}.seeds[0]", "true", "whole number"),
    ({f"{NET}.seeds": 3}, f"{NET}.seeds", "3", "list"),
    ({f"{NET}.layers": ["fc1", "fc1"]}, f"{NET}.layers", "'fc1'", "twice"),
    ({f"{NET}.layers": []}, f"{NET}.layers", "empty"),
    ({f"{NET}.layers": "conv1"}, f"{NET}.layers", "'conv1'", "list", "mapping"),
    ({"networks.own": OWN | {"layers": {"conv1": 0}}}, "networks.own.layers.conv1", "0", "at least 1"),
    ({"networks.own": OWN | {"layers": {"a/b": 1}}}, "networks.own.layers.a/b", "'a/b'"),
    ({f"{NET}.train.epochs": GONE}, f"{NET}.train.epochs", "missing"),
    ({f"{NET}.train.epochs": 12.0}, f"{NET}.train.epochs", "12.0", "whole number"),
    ({f"{NET}.train.epochs": -1}, f"{NET}.train.epochs", "-1", "at least 0"),
    ({f"{NET}.train.lr": "1e-3"}, f"{NET}.train.lr", "'1e-3'", "1.0e-3"),
    ({f"{NET}.train.lr": "fast"}, f"{NET}.train.lr", "'fast'", "number"),
    ({f"{NET}.train.lr": 0}, f"{NET}.train.lr", "0", "above 0"),
    ({f"{NET}.train.lr": math.nan}, f"{NET}.train.lr", "nan", "finite"),
    ({f"{NET}.train.lr": True}, f"{NET}.train.lr", "true", "number"),
    ({f"{NET}.train.momentum": 1}, f"{NET}.train.momentum", "1", "at least 0 and below 1"),
    ({f"{NET}.train.gamma": 2}, f"{NET}.train.gamma", "2", "above 0 and at most 1"),
    ({f"{NET}.train.optimizer": "adamax"}, f"{NET}.train.optimizer", "'adamax'", "'adam'", "adam, adamw, sgd"),
    ({f"{NET}.train.optimizer": 1}, f"{NET}.train.optimizer", "1", "text"),
    ({f"{NET}.train.augment": ["flip", "crops"]}, f"{NET}.train.augment[1]", "'crops'", "'crop'"),
    ({"datasets": {"mine": "no colon"}}, "datasets.mine", "'no colon'", "package.module:function"),
    ({"splits.validation": datetime.date(2020, 1, 1)}, "splits.validation", "2020-01-01", "date", "quotes"),
    ({"splits": [1000]}, "splits", "[1000]", "mapping"),
    ({"scoring.images": 0}, "scoring.images", "0", "at least 1"),
    ({"scoring.trials": "3"}, "scoring.trials", "'3'", "whole number", "without quotes"),
    (
        {"scoring.payoff": "acuracy"},
        "scoring.payoff",
        "'acuracy'",
        "'accuracy'",
        "accuracy, agreement, kl, loss, margin",
    ),
    ({"criteria": {}}, "criteria", "empty"),
    ({"criteria.apoz": None}, "criteria.apoz", "empty", "{}"),
    ({"criteria.mine": {"method": 5}}, "criteria.mine.method", "5", "text"),
    ({"criteria.shapley.aggregates": ["median"]}, "criteria.shapley.aggregates[0]", "'median'", "mean+2std"),
    ({"criteria.shapley.aggregates": ["p101"]}, "criteria.shapley.aggregates[0]", "'p101'"),
    ({"criteria.shapley.trials": 0}, "criteria.shapley.trials", "0", "at least 1"),
    ({"oracle.max_units": 21}, "oracle.max_units", "21", "1 and 20"),
    ({"low_data.ratios": [0.5, 1.5]}, "low_data.ratios[1]", "1.5", "strictly between 0 and 1"),
    ({"low_data.ratios": [1]}, "low_data.ratios[0]", "1", "strictly between 0 and 1"),
    ({"low_data.scored_on": "train"}, "low_data.scored_on", "'train'", "'training'"),
    ({"low_data.test_images": "some"}, "low_data.test_images", "'some'", "from 1", "all"),
    (WEIGHTS | {f"{NET}.weights": 3}, f"{NET}.weights", "3", "text", "mapping"),
    (WEIGHTS | {f"{NET}.weights": {"url": "https://x.org/w"}}, f"{NET}.weights.sha256", "missing"),
    (WEIGHTS | {f"{NET}.weights": {"url": "x.org/w", "sha256": SHA256}}, f"{NET}.weights.url", "'x.org/w'", "https://"),
    (
        WEIGHTS | {f"{NET}.weights": {"url": "https://x.org/w", "sha256": "abc"}},
        f"{NET}.weights.sha256",
        "'abc'",
        "SHA-256",
        "64",
    ),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake[1])
def test_a_mistake_is_told_in_one_sentence(config, mistake):
    told_in_one_sentence(config, *mistake)


PROTOCOL_MISTAKES = [
    # the changes, the key of the mistake, what its sentence must name: the value, and what is allowed
    (
        {ESTIMATOR: {"method": "permutation", "over": {"permutations": [1], "depth": [0.5]}}},
        f"{ESTIMATOR}.over",
        "permutations",
        "depth",
    ),
    ({"estimators.repetitions": 0}, "estimators.repetitions", "0", "at least 1"),
    ({"fine_tune.images": [0, "most"]}, "fine_tune.images[1]", "'most'", "from 0", "all"),
    ({"fine_tune.images": [-1]}, "fine_tune.images[0]", "-1", "from 0", "all"),
    ({"fine_tune.train.lr": 0}, "fine_tune.train.lr", "0", "above 0"),
    ({"low_data.repair": ["batch-norm", "none"]}, "low_data.repair[0]", "'batch-norm'", "'batchnorm'"),
    ({"compress.sizes.half": {}}, "compress.sizes.half", "'ratio'", "'widths'", "'parameters'", "'macs'"),
    ({"compress.sizes.half.macs": 3}, "compress.sizes.half", "'ratio'", "'macs'", "not both"),
    ({"compress.sizes.half.ratio": 1}, "compress.sizes.half.ratio", "1", "strictly between 0 and 1"),
    ({"compress.train.epochs": GONE}, "compress.train.epochs", "missing"),
    ({"budgets.sizes": []}, "budgets.sizes", "empty"),
    ({"selective_tuning.share": 1}, "selective_tuning.share", "1", "strictly between 0 and 1"),
    ({"selective_tuning.images": "most"}, "selective_tuning.images", "'most'", "from 1", "all"),
    ({"selective_tuning.rates": [0]}, "selective_tuning.rates[0]", "0", "above 0"),
    ({"budgets.sizes": [0.5, 0]}, "budgets.sizes[1]", "0", "above 0"),
    ({"budgets.measure": "milliseconds"}, "budgets.measure", "'milliseconds'", "macs, megabytes, parameters"),
    ({"budgets.images": 1}, "budgets.images", "1", "at least 2"),
    ({"budgets.test_images": "most"}, "budgets.test_images", "'most'", "from 1", "all"),
    ({"budgets.onnx": "yes"}, "budgets.onnx", "'yes'", "true or false"),
    ({"budgets.teacher": 1.5}, "budgets.teacher", "1.5", "between 0 and 1"),
    ({"budgets.train": {}}, "budgets.train.epochs", "missing"),
    ({"budgets.train": {"epochs": 2, "teacher": True}}, "budgets.train.teacher", "unknown key"),
    ({"budgets.methods.reconstruction.distil": -1}, "budgets.methods.reconstruction.distil", "-1", "at least 0"),
    ({"budgets.methods.reconstruction.distil": "auto"}, "budgets.methods.reconstruction.distil", "'auto'", "whole"),
    ({"budgets.methods.reconstruction.copies": "some"}, "budgets.methods.reconstruction.copies", "'some'", "auto"),
    (
        {"budgets.methods.reconstruction.repair": "ols"},
        "budgets.methods.reconstruction.repair",
        "'ols'",
        "least-squares",
    ),
    (
        {"budgets.methods.reconstruction.steps": 9},
        "budgets.methods.reconstruction.steps",
        "unknown key",
        "distil, multiple",
    ),
    ({"deactivation.shares": [0.1, 1.0]}, "deactivation.shares[1]", "1", "strictly between 0 and 1"),
    ({"deactivation.shares": []}, "deactivation.shares", "empty"),
    ({"deactivation.scope": "row"}, "deactivation.scope", "'row'", "'rows'"),
    ({"deactivation.test_images": 0}, "deactivation.test_images", "0", "from 1", "all"),
    ({"quantisation.betas": [1.5]}, "quantisation.betas[0]", "1.5", "between 0 and 1"),
    ({"quantisation.bits": ["four"]}, "quantisation.bits[0]", "'four'", "whole"),
    ({"quantisation.images": 0}, "quantisation.images", "0", "at least 1"),
    ({"quantisation.methods.gptq.damping": -1}, "quantisation.methods.gptq.damping", "-1", "at least 0"),
    ({"quantisation.methods.gptq.beta": 0.5}, "quantisation.methods.gptq.beta", "unknown key"),
]


@pytest.mark.parametrize("mistake", PROTOCOL_MISTAKES, ids=lambda mistake: mistake[1])
def test_a_mistake_in_a_protocol_is_told_in_one_sentence(default, mistake):
    told_in_one_sentence(default, *mistake)
