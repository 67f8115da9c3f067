"""Keys of a study's units: what changes them, and what does not."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import fields

import pytest

from shapprune.core.paths import REPOSITORY as ROOT
from shapprune.networks.recipe import Recipe
from tests.unit.workflow.study.study_keys import (
    ALL,
    CHAINS,
    CONFIG,
    FEW_BITS,
    FITTED,
    FRESH,
    OF_GAMES,
    OF_SCORES,
    OF_UNITS,
    ON,
    PROBED,
    PRUNED,
    RETRAINED,
    SCORES,
    SMALL,
    STUDY,
    TRAINED,
    TUNED,
    WALKED,
    ZEROED,
    all_keys,
    changed,
)

# What is changed -> which rules' tasks have another key. All are tasks of network `one` where that is said, and of one
# criterion where that is said.
CHANGES = {
    "study": ("other", set()),
    "device": ("cpu", set()),
    "memory_mb": (7, set()),
    "gpu_slots": (4, set()),
    "store": ("elsewhere", set()),
    "networks.one.options.widths": ([4, 6, 8, 6], ALL),
    "networks.one.data": ("fashion-mnist", ALL),
    "networks.one.train.epochs": (4, ALL),
    "networks.one.train.batch": (32, ALL),
    "networks.one.train.optimizer": ("adam", ALL),
    "networks.one.train.lr": (0.01, ALL),
    "networks.one.train.momentum": (0.5, ALL),
    "networks.one.train.nesterov": (True, ALL),
    "networks.one.train.weight_decay": (0.1, ALL),
    "networks.one.train.schedule": ("cosine", ALL),
    "networks.one.train.milestones": ([1], ALL),
    "networks.one.train.gamma": (0.5, ALL),
    "networks.one.train.warmup": (1, ALL),
    "networks.one.train.label_smoothing": (0.1, ALL),
    "networks.one.train.augment": ([], ALL),
    "networks.one.train.patience": (2, ALL),
    "splits.validation": (201, ALL),
    "scoring.images": (21, SCORES | OF_SCORES | SMALL | OF_UNITS),
    "scoring.site": ("output", OF_GAMES | FRESH),
    "scoring.payoff": ("margin", OF_GAMES | FRESH),
    "scoring.precision": ("fp32", OF_GAMES | FRESH),
    "criteria.norms.norm": ("l2", {"score_layers"} | OF_SCORES | PRUNED | SMALL | PROBED),
    "criteria.walks.permutations": (3, {"score_layer"} | OF_SCORES | WALKED | TUNED | FRESH | ZEROED),
    "criteria.walks.shared": (True, {"score_layer"} | OF_SCORES | WALKED | TUNED | FRESH | ZEROED),
    "criteria.staged.options.permutations": (3, {"score_layer"} | OF_SCORES | WALKED),
    "criteria.gradient.points": (3, {"score_layer"} | OF_SCORES | WALKED | SMALL),
    "curves.images": (90, {"measure_curves"} | STUDY),
    "curves.points": (3, {"measure_curves"}),
    "oracle.images": (60, {"tabulate_coalitions", "search_oracle"} | STUDY),
    "estimators.repetitions": (3, STUDY),
    "estimators.converged": (100, STUDY),
    "estimators.compared.shared.shared": (False, STUDY),
    "low_data.images": (21, CHAINS),
    "low_data.scored_on": ("test", CHAINS),
    "low_data.test_images": (100, {"evaluate_pruned"} | TUNED),
    "fine_tune.train": ({"epochs": 3}, TUNED),
    "untrained.images": (31, FRESH),
    "untrained.networks.fresh.options.widths": ([8, 5], FRESH),
    "untrained.networks.fresh.data": ("mnist", FRESH),
    "compress.sizes.half.ratio": (0.4, SMALL),
    "compress.sizes.half.multiple": (2, SMALL),
    "compress.sizes.half": ({"ratio": 0.5, "skip": ["conv1"], "networks": ["one"]}, SMALL),
    "compress.sizes": ({"half": {"parameters": 500}}, SMALL),
    "compress.train": ({"epochs": 3}, SMALL),
    "budgets.images": (21, FITTED),
    "budgets.test_images": (50, FITTED),
    "budgets.methods.lean.criterion": ("taylor", FITTED),
    "budgets.methods.lean.options": ({"ridge": 0.2}, FITTED),
    "budgets.methods.lean.aggregate": ("abs", FITTED),
    "budgets.methods.lean.allocation": ("uniform", FITTED),
    "budgets.methods.lean.repair": ("none", FITTED),
    "budgets.methods.lean.distil": (20, FITTED),
    "budgets.methods.lean.augment": ([], FITTED),
    "budgets.methods.lean.copies": (2, FITTED),
    "budgets.methods.taylor.augment": ([], FITTED),  # nothing is distilled, but the repair sees copies
    "budgets.methods.taylor-plain.augment": ([], set()),  # nor does it see any here
    "budgets.methods.lean.multiple": (2, FITTED),
    "budgets.train": ({"epochs": 3}, RETRAINED),
    "budgets.train.schedule": ("cosine", RETRAINED),
    "budgets.teacher": (0.5, RETRAINED),
    "deactivation.scope": ("rows", ZEROED),
    "deactivation.test_images": (50, ZEROED),
    "quantisation.images": (21, FEW_BITS),
    "quantisation.test_images": (50, FEW_BITS),
    "quantisation.methods.ours.method": ("shapley-diagonal", FEW_BITS),
    "quantisation.methods.ours.in_turn": (True, FEW_BITS),
    "quantisation.methods.ours.damping": (0.1, FEW_BITS),
    "selective_tuning.share": (0.3, ON),
    "selective_tuning.data.one": ("fashion-mnist", ON),
    "selective_tuning.images": (31, ON),
    "selective_tuning.test_images": (50, ON),
    "selective_tuning.train": ({"epochs": 3}, ON),
    "probe.share": (0.3, PROBED),
    "probe.images": (41, PROBED),
    "probe.test_images": (50, PROBED),
}
# These say which tasks there are; what was there keeps its key.
WHICH = {
    "networks.one.seeds": [0, 1, 2],
    "networks.one.layers": ["conv1", "conv2"],
    "scoring.trials": 3,
    "criteria.walks.trials": 3,
    "criteria.walks.aggregates": ["mean", "mean+2std", "abs"],
    "oracle.max_units": 5,
    "estimators.max_units": 5,
    "estimators.compared.shared.over": {"permutations": [1, 2, 5]},
    "low_data.ratios": [0.25, 0.5],
    "low_data.trials": 3,
    "low_data.criteria": ["taylor", "walks"],
    "low_data.repair": ["none", "batchnorm"],
    "fine_tune.criteria": ["taylor"],
    "fine_tune.images": [0, 50, "all"],
    "fine_tune.trials": 1,
    "untrained.criteria": ["walks", "taylor"],
    "untrained.networks.fresh.seeds": [0, 1],
    "untrained.networks.fresh.layers": ["fc2"],
    "compress.criteria": ["norms"],
    "compress.sizes.other": {"widths": {"conv1": 2}, "networks": ["one"]},
    "compress.sizes.half.networks": ["one"],
    "budgets.sizes": [0.5, 0.25],
    "budgets.measure": "parameters",
    "budgets.trials": 3,
    "budgets.onnx": False,
    "deactivation.criteria": ["taylor", "norms"],
    "deactivation.shares": [0.2, 0.3],
    "quantisation.bits": [4],
    "quantisation.betas": [0.5, 0.9],
    "quantisation.trials": 3,
    "budgets.methods": {"lean": {"criterion": "reconstruction", "distil": 10}},
    "selective_tuning.methods": ["taylor", "walks", "full", "lora"],
    "selective_tuning.trials": 3,
    "selective_tuning.rates": [0.05, 0.01],
    "probe.methods": ["norms", "all"],
    "probe.trials": 1,
}
NAMES = {
    *("one", "norms", "walks", "staged", "gradient", "fresh", "half", "other", "shared"),
    *("lean", "ours", "taylor", "taylor-plain"),
}


def with_value(key: str, value: object) -> dict:
    config = copy.deepcopy(CONFIG)
    *path, last = key.split(".")
    inner = config
    for name in path:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return config


@pytest.mark.parametrize("key", CHANGES)
def test_a_value_changes_what_reads_it(key, before):
    value, rules = CHANGES[key]
    found = changed(before, all_keys(with_value(key, value)))
    assert {task[1] for task in found} == rules
    part, name, *_ = [*key.split("."), ""]
    if part == "networks":
        assert {task[0] for task in found} == {name}
    if part == "criteria":
        assert all(name in f"{place}/{label}" for _, _, place, label in found)


@pytest.mark.parametrize("key", WHICH)
def test_what_is_there_keeps_its_key_when_there_is_more(key, before):
    after = all_keys(with_value(key, WHICH[key]))
    kept = changed(before, after)
    if key in ("networks.one.layers",):  # the steps of chains follow from the layers, and all lose units
        assert {task[1] for task in kept} == CHAINS | SMALL | OF_UNITS
    elif key == "oracle.max_units":  # the truth about a layer that has no table any more is another
        assert {task[1] for task in kept} == STUDY
    else:
        assert not kept
    assert after.keys() != before.keys()


def test_every_key_of_the_schema_is_tried():
    from tests.contract.test_schema import leaves

    tried = {".".join("NAME" if part in NAMES else part for part in key.split(".")) for key in {**CHANGES, **WHICH}}
    untried = {key for key in leaves() if key not in tried and not any(each.startswith(f"{key}.") for each in tried)}
    assert untried <= {
        "networks.NAME.architecture",
        *(
            *("datasets", "datasets.NAME.kind", "datasets.NAME.tokenizer"),  # each has one value
            *("datasets.NAME.source", "datasets.NAME.length"),  # in tests/unit/workflow/stages/test_inputs.py
            "criteria.NAME.method",
            "estimators.compared.NAME.method",
            "networks.NAME.weights.url",
            "networks.NAME.weights.sha256",
        ),
        *("scale", "reduced"),  # laid over the configuration before it is read
        *("low_data.skip", "tracking", "fine_tune.ratios"),
        *("untrained.networks.NAME.architecture", "compress.sizes.NAME.skip"),
        *(f"compress.sizes.NAME.{size}" for size in ("parameters", "macs", "widths")),
        *(f"{section}.train.{field.name}" for section in TRAINED for field in fields(Recipe)),
    }


def test_the_name_of_a_criterion_is_in_no_key(before):
    config = copy.deepcopy(CONFIG)
    config["criteria"] = {f"my-{name}": {"method": name} | entry for name, entry in config["criteria"].items()}
    for section in ("fine_tune", "untrained", "compress", "deactivation"):
        config[section]["criteria"] = [f"my-{name}" for name in config[section]["criteria"]]
    for section in ("selective_tuning", "probe"):
        methods = config[section]["methods"]
        config[section]["methods"] = [f"my-{name}" if name in CONFIG["criteria"] else name for name in methods]
    assert set(all_keys(config).values()) == set(before.values())


def test_options_are_in_the_key_with_their_defaults(before):
    assert not changed(before, all_keys(with_value("criteria.walks.shared", False)))
    assert not changed(before, all_keys(with_value("networks.one.train.batch", 64)))


def test_planning_imports_no_torch():
    code = (
        "import sys, yaml; from shapprune.workflow.study import config as s;"
        "from shapprune.workflow.study.plan import Plan;"
        "Plan(s.validate(s.read('config.yaml'))).expected; import shapprune.workflow.store.work;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
