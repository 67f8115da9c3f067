"""Configurations with other values at some keys, and what is said of them."""

from __future__ import annotations

import copy

import pytest

from shapprune.workflow.study import config as study
from shapprune.workflow.study.config import ConfigError

NET = "networks.lenet5"
OWN = {"architecture": "my_package.models:build", "data": "mnist", "train": {"epochs": 1}}
ESTIMATOR = "estimators.compared.shapley"
SMALL = {"splits.validation": 500, "curves.images": 360}
SHA256 = 64 * "a"
GONE = object()
PROTOCOLS = (
    *("fine_tune", "untrained", "compress", "budgets", "deactivation", "quantisation"),
    *("selective_tuning", "probe"),
)


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


WEIGHTS = {f"{NET}.train": GONE, f"{NET}.seeds": [0]}


def told_in_one_sentence(config: dict, changes: dict, key: str, *names: str) -> None:
    """Assert that one sentence starts with the key and has all names, and none of the words of the schema."""
    (sentence,) = problems(changed(config, changes))
    assert sentence.startswith(f"{key}: ")
    assert [name for name in names if name not in sentence.removeprefix(f"{key}: ")] == []
    for word in ("instance", "schema", "None of", "is not valid under", "does not match", "'object'"):
        assert word not in sentence
