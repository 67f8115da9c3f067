"""The schema of the configuration, the keys that the code reads, and the page about both agree."""

from __future__ import annotations

import ast
import io
import re
import runpy
import tokenize
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from shapprune.core.paths import REPOSITORY as ROOT
from shapprune.data.texts import TOKENIZERS
from shapprune.networks.augment import AUGMENTATIONS
from shapprune.parameters.quantisation import METHODS, Scheme
from shapprune.parameters.quantisers import BITS
from shapprune.parameters.units import SCOPES
from shapprune.pruning.budget import MEASURES
from shapprune.pruning.maker import ALLOCATIONS, How
from shapprune.pruning.repair import REPAIRS
from shapprune.pruning.target import Target
from shapprune.workflow.stages import quantisation
from shapprune.workflow.study.schema import resolve, schema


def rules(rule: dict, key: str = "") -> Iterator[tuple[str, dict]]:
    """Every key of the schema with its rule; NAME stands for a name of the user's own."""
    rule = resolve(rule)
    below = {name: resolve(each) for name, each in rule.get("properties", {}).items()}
    if isinstance(other := rule.get("additionalProperties"), dict):
        below["NAME"] = other
    for name, each in below.items():
        inner = f"{key}.{name}".lstrip(".")
        yield inner, each
        yield from rules(each, inner)


def leaves() -> list[str]:
    return [key for key, rule in rules(schema()) if not rule.get("properties") and not key.endswith("NAME")]


def words(path: Path) -> set[str]:
    """The texts in a Python or Snakemake file and the names of its fields and parameters (``epochs: int``).

    Variables, comments and prose do not count: a key is read as ``recipe["epochs"]``, or becomes a field.
    """
    found, name = set(), ""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.STRING:
            found |= {
                each.value for each in ast.walk(ast.parse(token.string.strip())) if isinstance(each, ast.Constant)
            }
        elif token.string == ":":
            found.add(name)
        name = token.string if token.type == tokenize.NAME else ""
    return found


@pytest.fixture(scope="module")
def code() -> list[set[str]]:
    """The words of each file that may read the configuration."""
    readers = [
        ROOT / "Snakefile",
        *ROOT.glob("rules/*.smk"),
        *ROOT.glob("scripts/*.py"),
        *ROOT.glob("shapprune/**/*.py"),
    ]
    checkers = [ROOT / "shapprune" / "workflow" / "study" / f"{name}.py" for name in ("config", "checks", "schema")]
    assert set(checkers) < set(readers)
    captions = "".join(path.read_text() for path in ROOT.glob("report/*.rst"))
    shown = {name for key in re.findall(r"config((?:\.\w+)+)", captions) for name in key.split(".")}
    return [shown, *(words(path) for path in readers if path not in checkers)]


def test_schema_is_a_schema():
    Draft202012Validator.check_schema(schema())


def test_default_study_has_no_key_that_the_schema_lacks():
    def check(value: object, rule: dict, key: str) -> None:
        for name, each in value.items() if isinstance(value, dict) else ():
            inner = rule.get("properties", {}).get(name, rule.get("additionalProperties", {}))
            assert inner is not False, f"{key}{name}"
            check(each, inner, f"{key}{name}.")

    check(yaml.safe_load((ROOT / "config.yaml").read_text()), schema(), "")


@pytest.mark.parametrize(("key", "rule"), list(rules(schema())), ids=[key for key, _ in rules(schema())])
def test_every_key_is_described(key, rule):
    assert rule.get("description", "").rstrip().endswith((".", "`)")), key


def test_unknown_keys_are_refused_everywhere():
    free = (
        *("criteria.NAME", "estimators.compared.NAME", "networks.NAME.options", "untrained.networks.NAME.options"),
        "budgets.methods.NAME.options",
        "reduced",
    )
    for key, rule in [("", schema()), *rules(schema())]:
        if "object" in rule.get("type", []) and key not in free:
            assert "additionalProperties" in rule, key


def test_every_pattern_has_words():
    def patterns(rule: object) -> Iterator[dict]:
        if isinstance(rule, dict):
            if isinstance(rule.get("pattern"), str):
                yield rule
            for each in rule.values():
                yield from patterns(each)

    assert all(rule.get("title") for rule in patterns(schema()))


@pytest.mark.parametrize("key", leaves())
def test_every_key_is_read_by_something(key, code):
    parts = key.split(".")
    needed = parts if len(parts) == 2 else parts[-1:]  # of a section's key, both names in one file
    assert any(found.issuperset(needed) for found in code), f"{key} is in the schema, but nothing reads it"


def test_tokenizers_are_those_of_the_library():
    assert dict(rules(schema()))["datasets.NAME"]["properties"]["tokenizer"]["enum"] == list(TOKENIZERS)


def test_repairs_and_targets_are_those_of_the_library():
    found = dict(rules(schema()))
    assert tuple(found["low_data.repair"]["items"]["enum"]) == REPAIRS
    method = found["budgets.methods.NAME"]["properties"]
    assert set(method["repair"]["enum"]) == set(REPAIRS)
    assert set(method["allocation"]["enum"]) == set(ALLOCATIONS)
    assert method["augment"]["items"]["enum"] == list(AUGMENTATIONS)
    assert tuple(method["augment"]["default"]) == How().augmentation
    assert all(method[name]["default"] == getattr(How(), name) for name in ("aggregate", "allocation", "repair"))
    assert set(found["budgets.measure"]["enum"]) == set(MEASURES)  # milliseconds are those of one machine
    assert method.keys() - {"distil", "augment"} <= {field.name for field in fields(How)}
    assert found["deactivation.scope"]["enum"] == list(SCOPES)
    assert (quantisation.METHODS, quantisation.BITS) == (METHODS, BITS)
    for name in ("in_turn", "damping"):
        assert found[f"quantisation.methods.NAME.{name}"]["default"] == getattr(Scheme(), name)
    assert found["quantisation.betas"]["default"] == [Scheme().beta]
    sizes = set(found["compress.sizes.NAME"]["properties"]) - {"networks", "skip"}
    assert sizes <= {field.name for field in fields(Target)}


@pytest.mark.parametrize(("name", "made"), [("configuration", "page"), ("criteria", "criteria_page")])
def test_page_is_up_to_date(name, made):
    page = runpy.run_path(str(ROOT / "docs" / "make_configuration.py"))[made]()
    committed = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert committed == page, f"docs/{name}.md is old; run: python docs/make_configuration.py"
