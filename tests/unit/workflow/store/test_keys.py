"""Keys of units of work: what changes them, and what does not."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from shapprune.core.errors import ShapPruneError
from shapprune.networks.recipe import Recipe
from shapprune.workflow.store import keys
from shapprune.workflow.store.keys import Unit, code_of, fingerprint, from_description
from shapprune.workflow.study import config as study
from shapprune.workflow.study.plan import Plan

ROOT = Path(__file__).resolve().parents[4]

CONFIG = {
    "networks": {
        "one": {
            "architecture": "lenet5",
            "data": "fashion-mnist-sample",
            "options": {"widths": [4, 6, 8, 5]},
            "seeds": [0, 1],
            "train": {"epochs": 3, "augment": ["flip"]},
        },
        "two": {"architecture": "mlp", "data": "digits", "options": {"widths": [9, 6]}, "train": {"epochs": 2}},
    },
    "splits": {"validation": 200},
    "scoring": {"images": 20, "trials": 2},
    "criteria": {
        "norms": {"method": "weight-norm", "norm": "l1"},
        "taylor": {},
        "walks": {"method": "permutation", "permutations": 2, "aggregates": ["mean", "mean+2std"]},
        "staged": {"method": "rescored", "of": "permutation", "options": {"permutations": 2}},
        "gradient": {"method": "coalition-gradient", "points": 2},
    },
    "curves": {"images": 100},
    "oracle": {"max_units": 6, "images": 50},
    "estimators": {
        "max_units": 8,
        "compared": {
            "shared": {"method": "permutation", "shared": True, "over": {"permutations": [1, 2]}},
            "taylor": {},
        },
    },
    "low_data": {"ratios": [0.5], "images": 20, "trials": 2},
    "fine_tune": {"criteria": ["taylor", "walks"], "images": [0, 50], "train": {"epochs": 2}},
    "untrained": {
        "criteria": ["walks"],
        "images": 30,
        "networks": {"fresh": {"architecture": "mlp", "data": "digits", "options": {"widths": [7, 5]}}},
    },
    "compress": {"criteria": ["norms", "gradient"], "sizes": {"half": {"ratio": 0.5}}, "train": {"epochs": 2}},
}
SCORES = {"score_layers", "score_layer"}
OF_SCORES, STUDY = {"measure_curves", "search_oracle"}, {"study_estimators"}
TUNED, FRESH, SMALL = {"fine_tune_pruned"}, {"prune_untrained"}, {"compress_network"}
CHAINS = {"steps", "prune_layers", "evaluate_pruned"} | TUNED
ALL = SCORES | OF_SCORES | STUDY | CHAINS | SMALL | {"train_network", "tabulate_coalitions"}  # of a trained network


def all_keys(config: dict) -> dict[tuple, str]:
    """(network, rule, names of the unit) -> key, of all units of a study."""
    plan = Plan(study.validate(config))
    return {
        (unit["names"]["net"], job.rule, f"{job.place or unit['names']}", label): unit["key"]
        for job in plan.jobs()
        for label, unit in job.units.items()
    }


def changed(before: dict, after: dict) -> set[tuple]:
    """The units of both whose keys differ."""
    return {unit for unit in before.keys() & after.keys() if before[unit] != after[unit]}


@pytest.fixture(scope="module")
def before() -> dict[tuple, str]:
    return all_keys(CONFIG)


# What is changed -> which rules' units have another key. All are units of network `one` where that is said, and of one
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
    "scoring.images": (21, SCORES | OF_SCORES | SMALL),
    "scoring.site": ("output", (ALL | FRESH) - {"train_network"}),
    "scoring.payoff": ("margin", (ALL | FRESH) - {"train_network"}),
    "scoring.precision": ("fp32", (ALL | FRESH) - {"train_network"}),
    "criteria.norms.norm": ("l2", {"score_layers"} | OF_SCORES | (CHAINS - TUNED) | SMALL),
    "criteria.walks.permutations": (3, {"score_layer"} | OF_SCORES | CHAINS | FRESH),
    "criteria.walks.shared": (True, {"score_layer"} | OF_SCORES | CHAINS | FRESH),
    "criteria.staged.options.permutations": (3, {"score_layer"} | OF_SCORES | (CHAINS - TUNED)),
    "criteria.gradient.points": (3, {"score_layer"} | OF_SCORES | (CHAINS - TUNED) | SMALL),
    "curves.images": (90, {"measure_curves"} | STUDY),
    "oracle.images": (60, {"tabulate_coalitions", "search_oracle"} | STUDY),
    "estimators.repetitions": (3, STUDY),
    "estimators.converged": (100, STUDY),
    "estimators.compared.shared.shared": (False, STUDY),
    "low_data.images": (21, CHAINS),
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
}
# These say which units there are; what was there keeps its key.
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
}


NAMES = {"one", "norms", "walks", "staged", "gradient", "fresh", "half", "other", "shared"}


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
    assert {unit[1] for unit in found} == rules
    part, name, *_ = [*key.split("."), ""]
    if part == "networks":
        assert {unit[0] for unit in found} == {name}
    if part == "criteria":
        assert all(name in f"{place}/{label}" for _, _, place, label in found)


@pytest.mark.parametrize("key", WHICH)
def test_what_is_there_keeps_its_key_when_there_is_more(key, before):
    after = all_keys(with_value(key, WHICH[key]))
    kept = changed(before, after)
    if key in ("networks.one.layers",):  # the steps of chains follow from the layers
        assert {unit[1] for unit in kept} == CHAINS | SMALL
    elif key == "oracle.max_units":  # the truth about a layer that has no table any more is another
        assert {unit[1] for unit in kept} == STUDY
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
            "datasets",
            "criteria.NAME.method",
            "estimators.compared.NAME.method",
            "networks.NAME.weights.url",
            "networks.NAME.weights.sha256",
        ),
        *("low_data.skip", "tracking", "fine_tune.ratios"),
        *("untrained.networks.NAME.architecture", "compress.sizes.NAME.skip"),
        *(f"compress.sizes.NAME.{size}" for size in ("parameters", "macs", "widths")),
        *(f"{section}.train.{field.name}" for section in ("fine_tune", "compress") for field in fields(Recipe)),
    }


def test_the_name_of_a_criterion_is_in_no_key(before):
    config = copy.deepcopy(CONFIG)
    config["criteria"] = {f"my-{name}": {"method": name} | entry for name, entry in config["criteria"].items()}
    for section in ("fine_tune", "untrained", "compress"):
        config[section]["criteria"] = [f"my-{name}" for name in config[section]["criteria"]]
    assert set(all_keys(config).values()) == set(before.values())


def test_options_are_in_the_key_with_their_defaults(before):
    assert not changed(before, all_keys(with_value("criteria.walks.shared", False)))
    assert not changed(before, all_keys(with_value("networks.one.train.batch", 64)))


# An edited file -> the units of which rules have another key, and of which criteria where not of all.
EDITS = {
    "shapprune/shapley/permutation.py": ({"score_layer"} | OF_SCORES | STUDY | CHAINS | FRESH, None),
    "shapprune/criteria/heuristics.py": ({"score_layers"} | OF_SCORES | STUDY | CHAINS | SMALL, {"norms", "taylor"}),
    "shapprune/criteria/rescored.py": ({"score_layer"} | OF_SCORES | (CHAINS - TUNED), {"staged"}),
    "shapprune/shapley/gradient.py": ({"score_layer"} | OF_SCORES | (CHAINS - TUNED) | SMALL, {"gradient"}),
    "shapprune/game/engine.py": ((ALL | FRESH) - {"train_network"}, None),
    "shapprune/networks/training.py": (ALL | FRESH, None),
    "shapprune/pruning/loop.py": (CHAINS | FRESH | SMALL, None),
    "shapprune/pruning/least_squares.py": (CHAINS | FRESH | SMALL, None),
    "shapprune/pruning/fine_tune.py": (TUNED, None),
    "shapprune/pruning/curves.py": ({"measure_curves"} | STUDY | CHAINS | FRESH | SMALL, None),
    "shapprune/oracle/sets.py": ({"tabulate_coalitions", "search_oracle"} | STUDY, None),
    "shapprune/oracle/tabulated.py": (STUDY, None),
    "scripts/train_network.py": (ALL, None),
    "scripts/measure_curves.py": ({"measure_curves"}, None),
    **dict.fromkeys(
        [
            *(
                "shapprune/workflow/figures/removal.py",
                "shapprune/workflow/stages/collect.py",
                "shapprune/workflow/study/config.py",
                "shapprune/core/errors.py",
            ),
            *(
                "shapprune/criteria/catalog.py",
                "shapprune/workflow/store/store.py",
                "shapprune/workflow/study/plan.py",
                "shapprune/workflow/study/schema.py",
            ),
            *("shapprune/gpu/device.py", "shapprune/gpu/leases.py", "shapprune/gpu/devices.py"),
        ],
        (set(), None),
    ),
}


@pytest.mark.parametrize("file", EDITS)
def test_an_edit_changes_what_it_makes(file, before, monkeypatch):
    assert (ROOT / file).is_file()
    rules, criteria = EDITS[file]
    edited = lambda path: "edited" if path == ROOT / file else fingerprint(path)  # noqa: E731
    monkeypatch.setattr(keys, "fingerprint", edited)
    code_of.cache_clear()
    found = changed(before, all_keys(CONFIG))
    code_of.cache_clear()
    assert {unit[1] for unit in found} == rules
    if criteria is not None:
        of = {unit for unit in found for name in criteria if name in f"{unit[2]}/{unit[3]}"}
        assert of == found
        assert {name for unit in found for name in CONFIG["criteria"] if name in f"{unit[2]}/{unit[3]}"} == criteria


CODE = '''
"""A module."""
import os

LIMIT = 3


def twice(x: int) -> int:
    """Twice."""
    # a comment
    return 2 * x
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# a comment", "# another", True),
        ('"""Twice."""', '"""Two times."""', True),
        ('    """Twice."""\n', "", True),
        ('"""A module."""\n', "", True),
        ("2 * x", "(2 * x)", True),
        ("2 * x", "(\n        2\n        * x\n    )", True),
        ("2 * x", "x * 2", False),
        ("LIMIT = 3", "LIMIT = 4", False),
        ("LIMIT = 3", 'LIMIT = "3"', False),
        ("import os", "import sys", False),
        ("def twice", "def thrice", False),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(old, new, same, tmp_path):
    assert old in CODE
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text(CODE)
    other.write_text(CODE.replace(old, new))
    assert (fingerprint(one) == fingerprint(other)) is same


def test_code_of_the_user_counts_with_what_it_imports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "mine"
    (package / "parts").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "parts" / "__init__.py").write_text("")
    (package / "models.py").write_text("from .parts import blocks\nfrom mine.other import width\nimport torch\n")
    (package / "parts" / "blocks.py").write_text("from .. import far\nfrom . import models\n")
    (package / "parts" / "models.py").write_text("depth = 2\n")
    (package / "far.py").write_text("")
    (package / "other.py").write_text("width = 3\n")
    (package / "unused.py").write_text("")
    keys._module_file.cache_clear()
    found = code_of(ROOT / "scripts" / "plot_auc.py", ("mine.models:build",))
    names = {name for name in found if not name.startswith(("scripts/", "shapprune/"))}
    assert names == {"mine/models.py", "mine/other.py", "mine/parts/blocks.py", "mine/far.py", "mine/parts/models.py"}
    for path in (package / "models.py", package / "parts" / "models.py"):  # of one name, and both count
        assert found[path.relative_to(tmp_path).as_posix()] == fingerprint(path)
    assert code_of(ROOT / "scripts" / "plot_auc.py", ("not.there:build",)).keys() < found.keys()


def test_code_that_was_edited_since_is_refused(monkeypatch):
    unit = Unit("measure_curves", {"images": 3})
    assert from_description(unit.describe()).key == unit.key
    told = unit.describe() | {"key": "0" * 32}
    with pytest.raises(ShapPruneError, match="the code of measure_curves was edited after the run had been planned"):
        from_description(told)


def test_weights_and_own_data_are_known_by_what_they_hold(tmp_path, monkeypatch):
    from shapprune.workflow.study import inputs as origins

    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "mine.py").write_text("def load(): ...\n")
    config = copy.deepcopy(CONFIG)
    del config["networks"]["two"]["train"]
    config["networks"]["two"] |= {"weights": "two.pth"}
    config["datasets"] = {"shades": "mine:load"}
    config["networks"]["one"]["data"] = "shades"
    found = []
    for weights, md5 in (("a", None), ("b", None), ("b", "123"), ("b", "124")):
        (tmp_path / "two.pth").write_text(weights)
        if md5:
            pointer = {"outs": [{"md5": md5, "path": "shades"}]}
            (tmp_path / "data" / "shades.dvc").write_text(yaml.safe_dump(pointer))
        origins._digest_of.cache_clear()
        origins._pointer.cache_clear()
        found.append(all_keys(config))
    nets = [{unit[0] for unit in changed(*pair)} for pair in itertools.pairwise(found)]
    assert nets == [{"two"}, {"one"}, {"one"}]
    (tmp_path / "data" / "shades.dvc").write_text("outs: []")
    origins._pointer.cache_clear()
    with pytest.raises(ShapPruneError, match=r"shades\.dvc is not a DVC pointer"):
        all_keys(config)


def test_planning_imports_no_torch():
    code = (
        "import sys, yaml; from shapprune.workflow.study import config as s;"
        "from shapprune.workflow.study.plan import Plan;"
        "Plan(s.validate(s.read('config.yaml'))).expected(); import shapprune.workflow.store.work;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
