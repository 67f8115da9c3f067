"""Which jobs compute nothing, by what is in the store."""

from __future__ import annotations

import pytest

from shapprune.workflow.study import config as study
from shapprune.workflow.study.plan import Plan
from tests.study import STUDY, changed

TWO_SEEDS = changed(
    STUDY,
    networks={"small": STUDY["networks"]["small"] | {"seeds": [0, 3]}},
    low_data={"trials": 2},
    fine_tune={"trials": 1},
)


class Present:
    """A store that has all records but some."""

    def __init__(self, keys: set[str]) -> None:
        self.keys = keys

    def has(self, key: str) -> bool:
        return key in self.keys


@pytest.fixture
def plan() -> Plan:
    plan = Plan(study.validate(TWO_SEEDS))
    plan.store = Present(plan.keys())
    return plan


def without(plan: Plan, rule: str, label: str | None = None, **place: object) -> dict[str, int]:
    """How many jobs of each rule are restorable when tasks of one of its jobs are missing: one, or all."""
    tasks = plan.tasks(rule, place)
    missing = [each.task.key for name, each in tasks.items() if label in (None, name)]
    assert missing
    plan.store.keys -= set(missing)
    return restorable(plan)


def restorable(plan: Plan) -> dict[str, int]:
    rules = [job.rule for job in plan.restorable()]
    return {rule: rules.count(rule) for rule in rules}


ALL = {
    "train_network": 2,
    "score_layers": 2,
    "score_layer": 4,
    "measure_curves": 4,
    "tabulate_coalitions": 2,
    "search_oracle": 2,
    "study_estimators": 4,
    "prune_layers": 2,
    "prune_by_walks": 2,
    "evaluate_pruned": 2,
    "fine_tune_pruned": 2,
    "compress_network": 2,
    "fit_budgets": 4,
    "export_budgets": 4,
    "deactivate_units": 2,
    "quantise_network": 2,
    "prune_untrained": 1,
    "tune_units": 4,
    "probe_units": 2,
}
OF_SEED = {rule: (number + 1) // 2 for rule, number in ALL.items()}  # untrained networks have one
RUN = {"net": "small", "seed": 0}


def test_with_everything_in_the_store_all_jobs_are_restorable(plan):
    assert restorable(plan) == ALL
    (job, *_) = plan.restorable()
    assert (job.rule, job.wildcards) == ("train_network", RUN)


def test_with_nothing_none_is(plan):
    plan.store.keys = set()
    assert restorable(plan) == {}


def test_without_a_network_nothing_that_consumes_it_is(plan):
    assert without(plan, "train_network", **RUN) == OF_SEED


def test_without_the_scores_of_a_layer_what_consumes_them_is_not(plan):
    less = {"score_layer": 1, "measure_curves": 1, "compress_network": 1, "deactivate_units": 1}
    expected = {rule: number - less.get(rule, 0) for rule, number in ALL.items()}
    assert without(plan, "score_layer", "shapley/fc1/trial0", **RUN, layer="fc1") == expected


def test_a_job_is_restored_as_a_whole_or_not(plan):
    """The second trial is not fine-tuned, but the job that would restore the first one computes it."""
    less = {"prune_layers": 1, "evaluate_pruned": 1, "fine_tune_pruned": 1}
    expected = {rule: number - less.get(rule, 0) for rule, number in ALL.items()}
    assert without(plan, "prune_layers", "taylor/mean/ratio0.5/none/trial1", **RUN) == expected


def test_steps_that_nothing_needs_may_be_missing(plan):
    assert without(plan, "steps", **RUN, criterion="taylor") == ALL
