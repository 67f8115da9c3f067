"""The versions of the conda environments, requirements.txt and pyproject.toml agree."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement

from shapprune.core.paths import REPOSITORY

PINNED = {
    requirement.name: requirement
    for path in (REPOSITORY / "requirements.txt", REPOSITORY / "requirements-transformers.txt")
    for line in path.read_text().splitlines()
    if line and not line.startswith("#")
    for requirement in [Requirement(line)]
}
ENVIRONMENTS = sorted((REPOSITORY / "envs").glob("*.yaml"))


def test_requirements_are_pinned():
    assert len(PINNED) > 15
    for name, requirement in PINNED.items():
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), name


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_environment_has_the_versions_of_requirements(path):
    (pip,) = (each["pip"] for each in yaml.safe_load(path.read_text())["dependencies"] if isinstance(each, dict))
    assert len(pip) >= 4
    for line in pip:
        requirement = Requirement(line)
        assert str(requirement) == str(PINNED[requirement.name])


def test_pins_are_in_the_ranges_of_pyproject():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    ranges = [Requirement(line) for line in project["dependencies"]]
    # What submits to a cluster and the language model of a benchmark are installed where they are wanted, and nothing
    # that is pinned needs them.
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name not in ("cluster", "lm")}
    ranges += [Requirement(line) for lines in extras.values() for line in lines]
    assert {each.name for each in ranges} == set(PINNED)
    for each in ranges:
        (pin,) = PINNED[each.name].specifier
        assert each.specifier.contains(pin.version), each.name


# Rules that run the script of another one, with other criteria in a job.
SHARED_SCRIPTS = {"prune_by_walks": "prune_layers"}


def test_every_rule_names_an_environment_and_a_log():
    for path in [REPOSITORY / "Snakefile", *sorted((REPOSITORY / "rules").glob("*.smk"))]:
        text = path.read_text()
        for rule in re.split(r"^\s*rule ", text, flags=re.M)[1:]:
            if "script:" not in rule:
                continue  # a target: it runs nothing
            name = rule.split(":")[0]
            assert re.search(r'conda:\s+"\.\./envs/\w+\.yaml"', rule), name
            assert re.search(r'log:\s+f?"results/logs/' + name, rule), name
            assert f'"../scripts/{SHARED_SCRIPTS.get(name, name)}.py"' in rule, name


def test_every_script_belongs_to_a_rule():
    rules = "".join(path.read_text() for path in (REPOSITORY / "rules").glob("*.smk"))
    scripts = sorted((REPOSITORY / "scripts").glob("*.py"))
    assert len(scripts) > 8
    for script in scripts:
        assert f'"../scripts/{script.name}"' in rules
        assert "torch" not in script.read_text().split("with job(")[0]  # nothing heavy before the log is open
