"""Units of the highest scores, trained on and probed as the workflow does it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from shapprune.core.errors import ShapPruneError
from shapprune.core.tables import write_table
from shapprune.criteria.scoring import score
from shapprune.data.prepared import DataInfo, ImageSet, draw_images, splits, tensors
from shapprune.networks import training
from shapprune.networks.builders import build
from shapprune.networks.evaluation import evaluate
from shapprune.networks.recipe import Recipe
from shapprune.networks.training import fit
from shapprune.parameters.probe import probe, unit_activations
from shapprune.parameters.selective import SelectedUnits, select_units
from shapprune.shapley.score_files import write_scores
from shapprune.shapley.scores import UnitScores
from shapprune.workflow.computing import collect
from shapprune.workflow.computing.probe import keep_probed
from shapprune.workflow.computing.run import Run
from shapprune.workflow.computing.selective import keep_tuned, on_data
from shapprune.workflow.stages.registry import TABLES
from shapprune.workflow.store.keys import Task
from shapprune.workflow.store.work import Work
from tests.toys import randomise

NETWORK = {"architecture": "mlp", "options": {"widths": [12, 8]}, "data": "some"}
LAYERS = {"fc1": 12, "fc2": 8}
TRAIN = {"epochs": 3, "batch": 10, "optimizer": "adam", "lr": 0.01}
SCORES = {layer: torch.arange(units).double() for layer, units in LAYERS.items()}


@pytest.fixture
def run() -> Run:
    model = randomise(build("mlp", shape=(1, 4, 4), classes=3, widths=[12, 8])).eval()
    random = np.random.default_rng(0)
    labels = np.arange(90) % 3
    pixels = (random.integers(0, 120, (90, 1, 4, 4)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    info = DataInfo("some", (1, 4, 4), 3, 90, 90, (0.3,), (0.3,))
    image_set = ImageSet(info, pixels, labels, pixels[::-1].copy(), labels[::-1].copy())
    return Run(model, NETWORK, image_set, splits(90, 30)[1], "cpu", {"net": "small", "seed": 0}, memory_mb=64)


def work_in(
    folder: Path, stage: str, methods: dict[str, dict], trials: int = 2, scores: dict = SCORES, **parts: object
) -> Work:
    """A task a method and trial; methods that are no baselines consume the scores."""
    tasks = {}
    for layer, values in scores.items():
        path = folder / "scores" / f"{layer}.npz"
        path.parent.mkdir(exist_ok=True, parents=True)
        facts = {"task": {"key": f"key of {layer}"}}
        write_scores(path, UnitScores(values[None], "some", 0.0, 0.0), np.arange(0), facts)
    for method, more in methods.items():
        for trial in range(trials):
            own = {"layers": LAYERS, "share": 0.25, "trial": trial, "images": 40, "test_images": "all", **parts, **more}
            consumes = {}
            if not {"baseline", "game"} & own.keys():
                own |= {"aggregate": "mean", "scores": {layer: f"key of {layer}" for layer in LAYERS}}
                consumes = {"scores": {layer: str(folder / "scores" / layer) for layer in LAYERS}}
            names = {"net": "small", "seed": 0, "method": method, "aggregate": "mean", "data": "some", "share": 0.25}
            names |= {"images": 40, "trial": trial, "lr": 0.01}
            described = Task(stage, own).describe()
            tasks[f"{method}/trial{trial}"] = described | {"names": names, "stem": None, "consumes": consumes}
    work = Work(folder / "store", tasks, folder / "unfinished")
    work.find()
    return work


def tune(run: Run, folder: Path, methods: dict[str, dict], trials: int = 2, **train: object) -> Work:
    work = work_in(folder, "tune_units", methods, trials, train={**TRAIN, **train})
    keep_tuned(run, work)
    return work


def table_of(work: Work, name: str) -> list[dict]:
    return list(work.rows(TABLES[name].columns))


METHODS = {"highest": {}, "random": {"baseline": "random"}, "full": {"baseline": "full"}}


def test_every_training_has_a_row_and_is_that_of_the_library(run, tmp_path):
    rows = table_of(tune(run, tmp_path, METHODS), "tuned")
    assert [(row["method"], row["trial"]) for row in rows] == [(name, trial) for name in METHODS for trial in (0, 1)]
    assert set(rows[0]) == set(TABLES["tuned"].columns)
    trainable = {row["method"]: row["trainable"] for row in rows}
    # 3 of 12 rows of 16 weights, 2 of 8 rows of 12 weights, and a bias each.
    assert trainable == {"highest": 3 * 17 + 2 * 13, "random": 3 * 17 + 2 * 13, "full": rows[0]["parameters"]}
    training, held_back = splits(90, 30)
    held, test = tensors(run.image_set, "train", held_back), tensors(run.image_set, "test")
    for row in rows[:2]:
        selected = SelectedUnits(run.model, select_units(run.model, SCORES, 0.25, test[0][:2]))
        chosen = tensors(run.image_set, "train", draw_images(training, 40, row["trial"]))
        given = {"seed": row["trial"], "start": evaluate(run.model, *held), "progress": False, "best": "loss"}
        fit(selected, *chosen, *held, Recipe.of(TRAIN), **given)
        assert (row["loss"], row["accuracy"]) == evaluate(selected, *test)
        assert row["validation_loss"] == evaluate(selected, *held)[0] < evaluate(run.model, *held)[0]
        assert (row["loss_before"], row["accuracy_before"]) == evaluate(run.model, *test)
    assert rows[0]["loss"] != rows[2]["loss"]
    assert not (tmp_path / "unfinished").exists()
    assert not work_in(tmp_path, "tune_units", METHODS, train=TRAIN).missing


def test_units_are_scored_on_data_that_are_not_the_networks_own(run, tmp_path):
    game = {"site": "activation", "payoff": "loss", "precision": "fp32"}
    taylor = {"method": "taylor", "options": {}, "game": game, "scoring_images": 20, "aggregate": "mean"}
    other = on_data(run, replace(run.image_set, train_images=run.image_set.train_images[::-1].copy()))
    (row,) = table_of(tune(other, tmp_path, {"taylor": taylor}, trials=1), "tuned")
    chosen, test = draw_images(splits(90, 30)[1], 20, 0), tensors(run.image_set, "test")
    games = {layer: other.game(layer, "train", chosen, **game) for layer in LAYERS}
    scores = {layer: score(each, "taylor").aggregate("mean") for layer, each in games.items()}
    work = work_in(tmp_path / "by hand", "tune_units", {"taylor": {}}, trials=1, scores=scores, train=TRAIN)
    keep_tuned(other, work)
    assert table_of(work, "tuned")[0]["loss"] == row["loss"] != evaluate(run.model, *test)[0]


def test_a_training_that_was_cut_off_goes_on_after_its_last_epoch(run, tmp_path, monkeypatch):
    whole = table_of(tune(run, tmp_path / "whole", {"highest": {}}), "tuned")
    train_epoch, allowed, epochs = training._Training.train_epoch, 5, []

    def train_some(self, bar):
        if len(epochs) == allowed:
            raise InterruptedError
        epochs.append(len(self.rows))
        return train_epoch(self, bar)

    monkeypatch.setattr(training._Training, "train_epoch", train_some)
    with pytest.raises(InterruptedError):
        tune(run, tmp_path / "cut", {"highest": {}})
    allowed = 100
    cut = table_of(tune(run, tmp_path / "cut", {"highest": {}}), "tuned")
    assert epochs == [0, 1, 2, 0, 1, 2]
    assert [row | {"seconds": 0} for row in cut] == [row | {"seconds": 0} for row in whole]


def test_a_training_that_only_harms_leaves_the_network_as_it_was(run, tmp_path):
    for row in table_of(tune(run, tmp_path, {"highest": {}}, optimizer="sgd", lr=1e4, epochs=1), "tuned"):
        assert row["epochs"] == 0
        assert (row["loss"], row["accuracy"]) == (row["loss_before"], row["accuracy_before"])


def test_data_of_another_form_are_refused(run):
    info = replace(run.image_set.info, name="other", classes=4)
    assert on_data(run, replace(run.image_set, info=replace(info, classes=3))).image_set.info.name == "other"
    with pytest.raises(ShapPruneError, match=r"tells 3 classes or tokens apart, but data set 'other' has \[1, 4, 4\]"):
        on_data(run, replace(run.image_set, info=info))


def test_the_rate_of_the_lowest_validation_loss_counts_and_methods_are_tested_in_pairs(tmp_path):
    row = dict.fromkeys(TABLES["tuned"].columns, 1) | {"net": "small", "aggregate": "mean", "accuracy": 0.5}
    runs = [(seed, trial) for seed in (0, 1) for trial in (0, 1)]
    for method, trainable, losses in (("a", 10, (3, 5, 7, 8)), ("b", 10, (2, 3, 4, 8)), ("full", 99, (1, 1, 1, 2))):
        rows = [
            row
            | {"method": method, "seed": seed, "trial": trial, "lr": rate, "trainable": trainable}
            | {"validation_loss": wrong, "loss": loss + wrong}
            for (seed, trial), loss in zip(runs, losses, strict=True)
            for rate, wrong in ((0.1, 1), (0.01, 0))
        ]
        write_table(tmp_path / f"{method}.csv", TABLES["tuned"].columns, rows)
    paths = [str(tmp_path / f"{method}.csv") for method in ("a", "b", "full")]
    chosen = collect.chosen_rates(paths, TABLES["tuned"].columns, {})
    assert set(chosen["lr"]) == {"0.01"}
    assert chosen["loss"].tolist() == ["3", "5", "7", "8", "2", "3", "4", "8", "1", "1", "1", "2"]
    tests = collect.tests(paths, TABLES["tuned_tests"].columns, {})
    assert list(tests) == list(TABLES["tuned_tests"].columns)
    of_loss = tests[tests["measure"] == "loss"].set_index(["method", "other"])
    # Differences 1, 2, 3 and 0: mean 1.5, standard deviation sqrt(5 / 3).
    assert of_loss.loc[("a", "b"), "difference"] == 1.5
    assert of_loss.loc[("a", "b"), "t"] == pytest.approx(1.5 / np.sqrt(5 / 3 / 4))
    assert (of_loss["runs"] == 4).all()
    assert (of_loss["p_holm"] >= of_loss["p"]).all()
    assert tests[tests["measure"] == "accuracy"]["p"].isna().all()  # equal in all runs
    changed = pd.read_csv(paths[1]).assign(trainable=11)
    changed.to_csv(paths[1], index=False)
    with pytest.raises(ShapPruneError, match="'a' trains 10 parameters but 'b' 11, so they are not compared"):
        collect.tests(paths, TABLES["tuned_tests"].columns, {})


def test_probes_are_those_of_the_library(run, tmp_path):
    methods = {"highest": {}, "random": {"baseline": "random"}, "all": {"baseline": "all", "share": 1.0}}
    work = work_in(tmp_path, "probe_units", methods, trials=1)
    keep_probed(run, work)
    rows = table_of(work, "probed")
    assert [(row["method"], row["layer"], row["units"]) for row in rows] == [
        (method, layer, units)
        for method, counts in (("highest", (3, 2, 5)), ("random", (3, 2, 5)), ("all", (12, 8, 20)))
        for layer, units in zip(("fc1", "fc2", "all"), counts, strict=True)
    ]
    train = tensors(run.image_set, "train", draw_images(splits(90, 30)[0], 40, 0))
    test = tensors(run.image_set, "test")
    seen, unseen = (unit_activations(run.model, LAYERS, images)["fc1"][:, 9:] for images, _ in (train, test))
    found = probe(seen, train[1], unseen, test[1])
    assert (rows[0]["accuracy"], rows[0]["regularisation"]) == (found.accuracy, 1 / found.inverse)
    assert not work_in(tmp_path, "probe_units", methods, trials=1).missing


def test_probes_of_sequences_tell_what_follows_the_last_token(tmp_path):
    model = randomise(build("char_gpt", shape=(4,), classes=5, width=8, depth=1, heads=2, head_dim=4, hidden=6)).eval()
    tokens = np.random.default_rng(0).integers(0, 2, (60, 4))
    labels = np.roll(tokens, -1, 1)
    labels[:, -1] = tokens[:, -1]  # the last token is followed by itself
    labels[::6, -1] = -100
    info = DataInfo("texts", (4,), 5, 60, 60, (), ())
    image_set = ImageSet(info, tokens, labels, tokens, labels)
    run = Run(model, NETWORK, image_set, np.arange(10), "cpu", {"net": "small", "seed": 0}, memory_mb=64)
    methods = {"all": {"baseline": "all", "layers": {"blocks.0.attn": 2, "blocks.0.fc1": 6}}}
    work = work_in(tmp_path, "probe_units", methods, trials=1)
    keep_probed(run, work)
    rows = {row["layer"]: row for row in table_of(work, "probed")}
    assert rows["all"]["features"] == 2 * 4 + 6
    assert rows["blocks.0.fc1"]["accuracy"] == 1.0
