"""What a stored rule reads is in the keys of its tasks."""

from __future__ import annotations

import ast
import re

import pytest

from shapprune.core.paths import REPOSITORY as ROOT
from shapprune.workflow.stages.registry import STAGES
from shapprune.workflow.study import config as study
from shapprune.workflow.study.plan import Plan
from tests.unit.workflow.study.study_keys import CONFIG

# Each param of a rule that keeps its results -> why a job may read it.
READ = {
    "tasks": "they are the keys, with all settings of the configuration that a job reads",
    "steps": "tasks of the chains that are tasks",
    "evaluations": "tasks of the chains that are tasks",
    "columns": "of the table that the tasks make; a table of other columns is refused",
    "unfinished": "a place for what is not finished",
    "device": "in no key: results are the same but for rounding, and their manifests tell it",
}
STORED = {stage.rule: stage for stage in STAGES if stage.outputs}


def rules() -> dict[str, str]:
    """The text of every rule by its name."""
    found = {}
    for path in sorted(ROOT.glob("rules/*.smk")):
        parts = re.split(r"^ *rule (\w+):$", path.read_text(), flags=re.MULTILINE)
        found |= dict(zip(parts[1::2], parts[2::2], strict=True))
    return found


def block(text: str, name: str) -> list[str]:
    found = re.search(rf"^( *){name}:\n((?:\1 +.*\n)+)", text, flags=re.MULTILINE)
    assert found, name
    return [line.strip() for line in found[2].splitlines()]


def test_the_stages_are_the_rules_that_keep_their_results():
    assert set(STORED) == {rule for rule, text in rules().items() if "**stored(" in text}


@pytest.mark.parametrize("rule", STORED)
def test_a_rule_takes_from_its_stage_what_jobs_make_consume_and_read(rule):
    text = rules()[rule]
    assert block(text, "params") == [f'**given("{rule}"),']
    assert block(text, "resources") == [f'**stored("{rule}"),']
    assert block(text, "output") == [f'**outputs("{rule}"),']
    assert block(text, "benchmark") == [f'benchmark_of("{rule}")']
    others = {f'consumed("{rule}"),', "data=data_of,", "weights=weights_of,", "tuned_on=tuned_data_of,"}
    assert set(block(text, "input")) <= others


@pytest.mark.parametrize("rule", STORED)
def test_a_script_reads_what_its_rule_gives_it(rule):
    script = STORED[rule].script or rule
    assert f'"../scripts/{script}.py"' in rules()[rule]
    text = (ROOT / "scripts" / f"{script}.py").read_text()
    assert "with stored_job(snakemake) as work:" in text
    assert set(re.findall(r"snakemake\.(\w+)", text)) <= {"params", "resources", "input"}
    assert set(re.findall(r"(?:snakemake\.params|given)\.(\w+)", text)) <= READ.keys()


@pytest.mark.parametrize("rule", STORED)
def test_the_params_of_a_stage_are_known_here(rule):
    assert Plan(study.validate(CONFIG)).stages[rule].given().keys() <= READ.keys()


@pytest.mark.parametrize("path", sorted((ROOT / "shapprune").rglob("*.py")), ids=str)
def test_the_package_imports_from_where_things_are(path):
    """``from shapprune import name`` would hide from a key which module has it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "shapprune":
            for alias in node.names:
                home = ROOT / "shapprune" / alias.name
                assert home.with_suffix(".py").is_file() or (home / "__init__.py").is_file(), alias.name


@pytest.mark.parametrize("rule", rules())
def test_only_jobs_of_stages_ask_for_a_gpu(rule):
    """`stored` asks for one, and `stored_job` leases it."""
    assert "gpu=" not in rules()[rule]
    assert bool(re.search(rf"message_of\(\s*\"{rule}\",", rules()[rule])) == (rule in STORED)
