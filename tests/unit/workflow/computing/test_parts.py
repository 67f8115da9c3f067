"""Residual branches, blocks and single heads studied by the workflow like the units of a layer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import shapprune
from shapprune.core.files import read_json
from shapprune.data.prepared import DataInfo, ImageSet, draw_images, splits, tensors
from shapprune.game.branch_game import BranchGame
from shapprune.shapley.score_files import read_scores
from shapprune.workflow.computing import coalitions, curves, scores
from shapprune.workflow.computing.run import Run
from shapprune.workflow.stages.stage import read_wildcards
from shapprune.workflow.store.work import Work
from shapprune.workflow.study import config as study
from shapprune.workflow.study.plan import Job, Plan
from tests.residual import SmallResNet
from tests.toys import randomise

CONFIG = {
    "datasets": {"mine": "my.data:load"},
    "networks": {
        "net": {
            "architecture": "tests.residual:SmallResNet",
            "data": "mine",
            "layers": {"branches": 3, "blocks": 2},
            "train": {"epochs": 0},
        }
    },
    "splits": {"validation": 12},
    "scoring": {"images": 6, "trials": 1, "payoff": "kl"},
    "criteria": {"block-influence": {}, "leave-one-out": {}, "near": {"method": "permutation", "low": 0.5}},
    "curves": {"images": 9},
    "oracle": {"images": 8},
}
PLACE = {"net": "net", "seed": 0}


@pytest.fixture
def run() -> Run:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 1, 8, 8), dtype=np.uint8)
    info = DataInfo("mine", (1, 8, 8), 3, 30, 20, (0.3,), (0.3,))
    image_set = ImageSet(info, pixels[:30], np.arange(30) % 3, pixels[30:], np.arange(20) % 3)
    return Run(randomise(SmallResNet()), {}, image_set, splits(30, 12)[1], "cpu", dict(PLACE), memory_mb=64)


@pytest.fixture
def plan(monkeypatch, tmp_path) -> Plan:
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "data.py").write_text("def load(): ...")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return Plan(study.validate(CONFIG))


def work_of(job: Job) -> Work:
    work = Work(Path("store"), job.descriptions())
    work.find()
    return work


def test_branches_are_scored_tabulated_and_have_curves(run, plan):
    chosen = draw_images(run.validation, 6, 0)
    game = BranchGame(run.model, *tensors(run.image_set, "train", chosen), payoff="kl", examples=chosen)
    for rule, layer in (("score_layers", None), ("score_layer", "branches")):
        scores.keep_scores(run, work_of(plan.job(rule, PLACE | {"layer": layer} if layer else PLACE)))
    folder = Path("results/net/seed0")
    for name, method, options in (
        ("block-influence", "block-influence", {}),
        ("leave-one-out", "leave-one-out", {}),
        ("near", "permutation", {"low": 0.5}),
    ):
        kept = read_scores(folder / f"scores/{name}/branches/trial0.npz")
        torch.testing.assert_close(kept.values, shapprune.score(game, method, **options).values, check_dtype=False)

    coalitions.keep_table(run, work_of(plan.job("tabulate_coalitions", PLACE | {"layer": "branches"})))
    chosen = draw_images(run.validation, 8, 0)
    game = BranchGame(run.model, *tensors(run.image_set, "train", chosen), payoff="kl", examples=chosen)
    told = read_json(folder / "oracle/branches.json")
    exact = shapprune.shapley.exact(game).aggregate("mean")
    np.testing.assert_allclose(told["shapley_values"], exact, atol=1e-5)  # the table is float32
    assert (told["units"], told["evaluations"]) == (3, 8)

    work = work_of(plan.job("measure_curves", PLACE | {"layer": "branches"}))
    curves.keep_curves(run, work)
    chosen = draw_images(run.test, 9, 0)
    held_out = BranchGame(run.model, *tensors(run.image_set, "test", chosen))
    order = read_scores(folder / "scores/leave-one-out/branches/trial0.npz").order("mean")
    expected = shapprune.removal_curve(held_out, order)
    np.testing.assert_allclose(work.facts["leave-one-out/mean/0"]["columns"]["loss"], expected.loss, atol=1e-6)


def test_what_leaves_whole_is_not_pruned_unit_by_unit(plan):
    rules = {job.rule for job in plan.jobs()}
    assert rules == {"train_network", "score_layers", "score_layer", "measure_curves"} | {
        *("tabulate_coalitions", "search_oracle"),
    }


def test_single_heads_have_file_names_without_a_colon():
    heads = "model.layers.0.self_attn:queries"
    config = json.loads(json.dumps(CONFIG))
    config["networks"]["net"]["layers"] = {heads: 4, "model.layers.0.mlp.gate_proj": 9}
    config["criteria"] = {"taylor": {}, "shapley": {"method": "permutation"}}
    plan = Plan(study.validate(config))
    paths = [path for job in plan.jobs() for path in (*job.results(), *job.manifests())]
    assert "results/net/seed0/curves/model.layers.0.self_attn+queries.csv" in paths
    assert "results/net/seed0/scores/taylor/model.layers.0.self_attn+queries/trial0.json" in paths
    assert not [path for path in paths if ":" in path]
    (job,) = [job for job in plan.jobs("score_layer") if job.wildcards["layer"] == heads]
    assert {task.names["layer"] for task in job.tasks.values()} == {heads}
    found = {"net": "net", "seed": "0", "layer": "model.layers.0.self_attn+queries"}  # as Snakemake reads them
    assert plan.job("score_layer", read_wildcards(found)).descriptions() == job.descriptions()
    low_data = plan.stages["prune_layers"].pruned_layers("net")
    assert low_data == ["model.layers.0.mlp.gate_proj"]
