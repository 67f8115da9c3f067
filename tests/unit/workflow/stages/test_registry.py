"""The stages of a study agree with each other, and with the rest of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from shapprune.workflow.stages.registry import OPTIONAL, STAGES, TABLES
from shapprune.workflow.study import config as study
from shapprune.workflow.study.plan import Plan
from shapprune.workflow.study.schema import schema
from tests.unit.workflow.study.study_keys import CONFIG

ROOT = Path(__file__).resolve().parents[4]
RULES = [stage.rule for stage in STAGES]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(study.validate(CONFIG))


def test_each_stage_has_a_rule_and_a_section_of_the_configuration():
    assert len(set(RULES)) == len(RULES)
    assert {stage.section for stage in STAGES} <= schema()["properties"].keys()
    assert set(OPTIONAL) == {
        *("estimators", "fine_tune", "untrained", "compress", "budgets", "deactivation", "quantisation"),
        *("selective_tuning", "probe"),
    }


def test_each_table_is_described():
    described = (ROOT / "docs" / "tables.md").read_text()
    assert all(f"`{name}" in described for name in TABLES)
    assert sum(len(stage.tables) for stage in STAGES) == len(TABLES) + 1  # the scores of two stages are one table


def test_a_stage_consumes_what_earlier_stages_make(plan):
    made = set()
    for job in plan.jobs():
        for task in job.tasks.values():
            assert {each.task.key for each in task.consumed()} <= made | {one.task.key for one in job.tasks.values()}
        made |= {task.task.key for task in job.tasks.values()}


def test_jobs_make_and_consume_outputs_of_rules(plan):
    made = {path for rule in RULES for path in plan.results(rule)}
    consumed = {path for job in plan.jobs() for path in job.consumed()}
    assert consumed < made
    assert "results/one/seed1/model.safetensors" in consumed
    assert "results/one/seed1/scores/walks/conv1" in consumed
    assert "results/one/seed1/scores/norms" in consumed
    assert "results/one/seed0/pruned/taylor" in consumed
    assert "results/one/seed0/oracle/conv1.npz" in consumed
    assert "results/one/seed1/budgets/lean" in consumed
    assert "results/one/seed1/retrained/lean" in made
    assert not any("training.csv" in path or "model.json" in path for path in consumed)


def test_manifests_are_of_all_results(plan):
    assert (
        plan.expected["results/one/seed0/model.json"]
        == plan.task("train_network", "model", {"net": "one", "seed": 0}).task.key
    )
    per_kind = plan.logged()
    assert per_kind.keys() == {
        *("network", "scores", "coalitions", "estimator", "criterion", "compressed", "budget"),
        *("retrained", "quantised", "untrained", "tuned", "probed"),
    }
    assert {path for paths in per_kind.values() for path in paths} < plan.expected.keys()
    assert len([path for path in plan.expected if "/pruned/" in path]) == 3 * 6 * 2  # seeds, orders, trials


def test_the_tasks_of_a_job_are_planned_once(plan):
    at = {"net": "one", "seed": "0", "layer": "conv1"}  # as Snakemake has wildcards
    assert plan.tasks("measure_curves", at) is plan.tasks("measure_curves", {**at, "seed": 0, "criterion": "more"})
    names = next(iter(plan.tasks("measure_curves", at).values())).names
    assert names == {"net": "one", "seed": 0, "layer": "conv1", "criterion": "norms", "aggregate": "mean"} | {
        "trial": 0,
        "units": 4,
    }
