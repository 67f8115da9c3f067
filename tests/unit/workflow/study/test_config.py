"""The configuration: how it is read, laid over another, filled in and told apart."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest

from shapprune.core.errors import ShapPruneError
from shapprune.core.paths import REPOSITORY as ROOT
from shapprune.workflow.stages.layers import layers_of
from shapprune.workflow.study import config as study
from shapprune.workflow.study.config import ConfigError
from shapprune.workflow.study.overlay import merge
from tests.unit.workflow.study.mistakes import PROTOCOLS, changed


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


def test_trials_of_a_criterion(config):
    full = study.validate(changed(config, {"scoring.trials": 7, "criteria.taylor.trials": 2}))
    trials = {name: entry["trials"] for name, entry in full["criteria"].items()}
    assert (trials["shapley"], trials["taylor"], trials["apoz"]) == (7, 2, 1)


def test_options_of_a_criterion(config):
    full = study.validate(config)
    assert study.options_of(full["criteria"]["weight-l2"]) == {"norm": "l2"}


def test_a_study_with_other_networks_or_criteria_has_its_own_protocols(default):
    for overlay in ({"networks": {}}, {"criteria": {"taylor": {}}}):
        merged = merge(default, overlay)
        assert not merged.keys() & set(PROTOCOLS)
        assert merge(default, overlay | {"compress": {"criteria": []}})["compress"] == {"criteria": []}
    assert merge(default, {"splits": {"validation": 3}}).keys() == default.keys()
    assert "criteria" in default["low_data"]
    own = merge(default, {"criteria": {"taylor": {}}, "low_data": {"trials": 5}})["low_data"]
    assert own == {key: value for key, value in default["low_data"].items() if key != "criteria"} | {"trials": 5}
    other = merge(default, {"networks": {}})["low_data"]
    assert other == default["low_data"]
    sizes = merge(default, {"compress": {"sizes": {"tiny": {"ratio": 0.9}}}})["compress"]["sizes"]
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
    merged = merge(base, overlay)
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
    assert merge(base, {}) == base
    assert merge({"splits": 3}, {"splits": {"validation": 1}}) == {"splits": {"validation": 1}}


def test_reduced_scale(default):
    less = {"networks": {"lenet5": {"seeds": [3]}}, "criteria": {"random": {"trials": 2}}, "scoring": {"images": 7}}
    whole = merge(default, {"reduced": less})
    assert whole == default
    small = merge(default, {"scale": "reduced", "reduced": less})
    assert small["study"] == f"{default['study']}-reduced"
    assert small["networks"]["lenet5"] == default["networks"]["lenet5"] | {"seeds": [3]}
    assert small["criteria"] == default["criteria"] | {"random": {"trials": 2}}  # others stay, and protocols with them
    assert small["scoring"] == default["scoring"] | {"images": 7}
    assert study.validate(small)["compress"]["criteria"]
    without = merge(default, {"scale": "reduced", "reduced": {"criteria": {"apoz": None}, "fine_tune": None}})
    assert without["criteria"] == {name: each for name, each in default["criteria"].items() if name != "apoz"}
    assert "fine_tune" not in without
    for none in ({}, {"reduced": {}}, {"reduced": 3}):
        with pytest.raises(ShapPruneError, match=r"scale: reduced needs a section `reduced`, and study \S+ has none"):
            merge(default, {"scale": "reduced"} | none)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        (b"a: 1\nb: [1, 2\n", ", line 3: "),
        (b"a: 1\n\tb: 2\n", ", line 2: found character '\\t'"),
        (b"a: 1\nb: c: 2\n", ", line 2: mapping values are not allowed here"),
        (b"- a\n- b\n", ", line 1: ['a', 'b'] is not a mapping"),
        (b"a: 1\nb: 1\r\na: 2\n", ", line 3: the key 'a' is there already, in line 1"),
        (b"a:\n  b: {c: 1, 'c': 2}\n", ", line 2: the key 'c' is there already, in line 2"),
        (b"a: 1\nb: [2, 010]\n", ", line 2: 010 is 8 to YAML; write 8, or put it in quotes if it is text"),
        (b"a: 1:30\n", ", line 1: 1:30 is 90 to YAML"),
        (b"a: 1_000\n", ", line 1: 1_000 is 1000 to YAML"),
        (b"a: 1_0.5\n", ", line 1: 1_0.5 is 10.5 to YAML"),
        (b"a: -0x1F\n", ", line 1: -0x1F is -31 to YAML"),
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


def test_numbers_and_keys_as_everyone_reads_them(tmp_path):
    path = tmp_path / "study.yaml"
    lines = ["a: [0, -7, 10, 0.5, .5, 1., 1.0e-3, .inf, '010', 1e-3]", "b: &b {c: 1, d: 2}", "e: {<<: *b, c: 3}"]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, "f: größer\r\n"]).encode())
    numbers = [0, -7, 10, 0.5, 0.5, 1.0, 0.001, float("inf"), "010", "1e-3"]
    assert study.read(path) == {"a": numbers, "b": {"c": 1, "d": 2}, "e": {"c": 3, "d": 2}, "f": "größer"}


def test_files_that_snakemake_has_read_are_checked_too(tmp_path):
    (tmp_path / "study.json").write_text('{"a": 1,\t"a": 2}')
    study.check_files([tmp_path / "study.json", tmp_path / "gone.yaml"])
    (tmp_path / "study.yaml").write_text("networks: {}\ncriteria: {}\nnetworks: {}\n")
    with pytest.raises(ShapPruneError, match=r"study\.yaml, line 3: the key 'networks' is there already, in line 1"):
        study.check_files([tmp_path / "study.yaml"])


def test_numbers_of_the_command_line_are_numbers_where_they_may_be():
    given = {  # as Snakemake hands them over
        "study": "7",
        "scoring": {"images": "12", "precision": "fp32"},
        "low_data": {"ratios": ["0.5", "0.25"], "test_images": "all", "repair": ["none"]},
        "criteria": {"shapley": {"permutations": "3", "aggregates": ["mean"]}},
        "networks": {"net": {"data": "1", "seeds": ["0"], "layers": ["0", "1-2"], "options": {"x": "true"}}},
    }
    typed = study.typed(given)
    assert typed["study"] == "7"
    assert typed["scoring"] == {"images": 12, "precision": "fp32"}
    assert typed["low_data"] == {"ratios": [0.5, 0.25], "test_images": "all", "repair": ["none"]}
    assert typed["criteria"] == {"shapley": {"permutations": 3, "aggregates": ["mean"]}}
    assert typed["networks"]["net"] == {"data": "1", "seeds": [0], "layers": ["0", "1-2"], "options": {"x": True}}
    with pytest.raises(ShapPruneError, match="--config scoring, line 1: 012 is 10 to YAML"):
        study.typed({"scoring": {"images": "012"}})


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


@pytest.mark.parametrize(
    ("given", "meant"), [({}, "after"), ({"tracking": False}, "off"), ({"tracking": "off"}, "off")]
)
def test_off_may_be_written_bare(config, given, meant):
    assert study.validate(config | given)["tracking"] == meant
