"""Scorings that are cut off: they go on after their last draws, come out the same, and never from another's file."""

from __future__ import annotations

import importlib
import inspect
import shutil

import numpy as np
import pytest
import torch

import shapprune
from shapprune import LayerGame, shapley
from shapprune.core.checkpoint import save_checkpoint
from shapprune.core.resolve import resolve_function
from shapprune.criteria.catalog import CATALOG
from shapprune.data.sets import load
from shapprune.game.payoffs import minus_loss
from shapprune.shapley import unfinished
from shapprune.shapley.score_files import read_scores
from shapprune.shapley.unfinished import Unfinished
from shapprune.workflow.computing.run import Run
from shapprune.workflow.computing.scores import keep_scores
from shapprune.workflow.store.keys import Task
from shapprune.workflow.store.work import Work
from tests.toys import ConvNetwork, images, labels, randomise

ORDERS = np.random.default_rng(4).permuted(np.tile(np.arange(6), (20, 1)), axis=1)

SCORINGS = {
    "permutation": ("permutation", {"permutations": 20}),
    "shared": ("permutation", {"permutations": 20, "shared": True}),
    "antithetic": ("permutation", {"permutations": 19, "antithetic": True, "depth": 0.5}),
    "many": ("permutation", {"permutations": 80}),
    "settle": ("permutation", {"permutations": 1000, "settle": [0.2]}),
    "not settled": ("permutation", {"permutations": 10, "settle": [0.2, 0.7], "settle_by": "mean+2std"}),
    "coalition-gradient": ("coalition-gradient", {"points": 40}),
    "paired": ("coalition-gradient", {"points": 39, "paired": True}),
    "path-gradient": ("path-gradient", {"points": 40}),
    "shrunk": ("shrunk", {"permutations": 20}),
    "rescored": ("rescored", {"stages": 3, "of": "permutation", "options": {"permutations": 2}}),
    "exact": ("exact", {}),
    "partial": ("partial", {"size": 3}),
    "regression": ("regression", {"coalitions": 41}),
    "shared regression": ("regression", {"coalitions": 41, "shared": True, "sampling": "uniform", "paired": False}),
    "regression of all": ("regression", {"constrained": False, "l1": 0.01}),
}


class CutOffError(Exception):
    """The scoring is cut off."""


class Meter:
    """Counts calls of a payoff, and cuts them off when there were as many as are allowed."""

    def __init__(self):
        self.calls, self.allowed = 0, float("inf")

    def loss(self, outputs, truth):
        if self.calls == self.allowed:
            raise CutOffError
        self.calls += 1
        return minus_loss(outputs, truth)


@pytest.fixture
def meter(monkeypatch):
    """A payoff's meter, with checkpoints written as often as can be."""
    monkeypatch.setattr(unfinished, "INTERVAL", 0.0)
    for module in ("partial", "regression"):
        monkeypatch.setattr(importlib.import_module(f"shapprune.shapley.{module}"), "_CHUNK", 16)
    return Meter()


def make_game(payoff=minus_loss, model=None, x=None, y=None, **options):
    x, y = images(20) if x is None else x, labels(20) if y is None else y
    return LayerGame(model or randomise(ConvNetwork()), "features.4", x, y, payoff=payoff, **options)


def same(one, other):
    """Whether two scorings came out the same, bit for bit."""
    draws = (one.draws is None) == (other.draws is None) and (one.draws is None or torch.equal(one.draws, other.draws))
    facts = [(each.criterion, each.evaluations, each.settled) for each in (one, other)]
    return torch.equal(one.values, other.values) and draws and facts[0] == facts[1]


def cut_off(score, meter, path):
    """Score, but for the last call of the payoff; returns what an undisturbed scoring gives, and its calls."""
    whole = score(make_game(meter.loss), None)
    calls = meter.calls
    meter.calls, meter.allowed = 0, calls - 1
    with pytest.raises(CutOffError):
        score(make_game(meter.loss), path)
    meter.calls, meter.allowed = 0, float("inf")
    return whole, calls


@pytest.mark.parametrize("name", SCORINGS)
def test_a_scoring_that_was_cut_off_goes_on_and_comes_out_the_same(name, meter, tmp_path, capsys):
    criterion, options = SCORINGS[name]
    path = tmp_path / "checkpoint.pt"

    def score(game, checkpoint):
        return shapprune.score(game, criterion, seed=3, checkpoint=checkpoint, **options)

    whole, calls = cut_off(score, meter, path)
    assert whole.settled is {"settle": True, "not settled": False}.get(name)
    assert "goes on" not in capsys.readouterr().err
    resumed = score(make_game(meter.loss), path)
    assert same(resumed, whole)
    assert meter.calls < calls
    assert " of features.4: continues from " in capsys.readouterr().err
    game = make_game(meter.loss)  # tries the payoff
    meter.calls = 0
    again = score(game, path)  # nothing but both ends, and the gradient of `shrunk`, which is tried first
    assert same(again, whole)
    assert meter.calls <= 4


def test_given_orders_that_were_cut_off(meter, tmp_path):
    path = tmp_path / "checkpoint.pt"
    whole, _ = cut_off(lambda game, path: shapley.permutation(game, orders=ORDERS, checkpoint=path), meter, path)
    turned = shapley.permutation(make_game(meter.loss), orders=ORDERS[::-1].copy())
    shutil.copy(path, tmp_path / "other.pt")
    assert same(shapley.permutation(make_game(meter.loss), orders=ORDERS, checkpoint=path), whole)
    found = shapley.permutation(make_game(meter.loss), orders=ORDERS[::-1].copy(), checkpoint=tmp_path / "other.pt")
    assert same(found, turned)
    assert not same(found, whole)


def other_loss(outputs, truth):
    """Another payoff."""
    return 2 * minus_loss(outputs, truth)


def changed_weight():
    model = randomise(ConvNetwork())
    with torch.no_grad():
        model.output.bias[0] += 1e-3
    return model


@pytest.mark.parametrize(
    ("game", "options"),
    [
        (make_game, {"seed": 1}),
        (make_game, {"permutations": 24}),
        (make_game, {"antithetic": True}),
        (lambda: make_game(model=changed_weight()), {}),
        (lambda: make_game(x=images(20, seed=9)), {}),
        (lambda: make_game(y=labels(20, seed=9)), {}),
        (lambda: make_game(payoff="margin"), {}),
        (lambda: make_game(payoff=other_loss), {}),
        (lambda: make_game(site="norm"), {}),
        (lambda: make_game(examples=np.arange(1, 21)), {}),
        (lambda: make_game().without([2]), {}),
    ],
)
def test_another_scoring_does_not_go_on_from_it(game, options, meter, tmp_path, capsys):
    path = tmp_path / "checkpoint.pt"
    shapley.permutation(make_game(), permutations=20, checkpoint=path)
    options = {"permutations": 20} | options
    assert same(shapley.permutation(game(), **options, checkpoint=path), shapley.permutation(game(), **options))
    assert "goes on" not in capsys.readouterr().err
    shapley.permutation(game(), **options, checkpoint=path)  # the file is of this one now
    assert "continues from draw 2" in capsys.readouterr().err


def test_another_criterion_does_not_go_on_from_it(meter, tmp_path, capsys):
    path = tmp_path / "checkpoint.pt"
    for criterion, options in SCORINGS.values():
        scores = shapprune.score(make_game(), criterion, checkpoint=path, **options)
        assert same(scores, shapprune.score(make_game(), criterion, **options))
    assert "goes on" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("something else"),
        lambda path: torch.save([1, 2], path),
        lambda path: save_checkpoint(path, "a training", {"epoch": 3}),
    ],
)
def test_a_damaged_or_foreign_file_is_none(damage, meter, tmp_path):
    path = tmp_path / "checkpoint.pt"
    whole = shapley.permutation(make_game(), permutations=20, checkpoint=path)
    damage(path)
    assert same(shapley.permutation(make_game(), permutations=20, checkpoint=path), whole)


def test_a_short_scoring_leaves_no_file_and_a_long_one_its_last_state(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    for criterion, options in SCORINGS.values():
        shapprune.score(make_game(), criterion, checkpoint=path, **options)
    assert not path.exists()
    game = make_game()
    scoring = Unfinished(path, game, "some")
    scoring.save("draw 1 of 3", seen=1)
    monkeypatch.setattr(unfinished, "INTERVAL", 0.0)
    scoring.save("draw 2 of 3", seen=2)
    monkeypatch.undo()
    scoring.save("draw 3 of 3", seen=3)
    assert Unfinished(path, game, "some").saved == {"seen": 2}
    scoring.finish()
    last = Unfinished(path, game, "some")
    assert last.saved == {"seen": 3}
    assert last.seconds > 0


@pytest.mark.parametrize("criterion", CATALOG)
def test_the_catalog_says_which_criteria_go_on(criterion):
    entry = CATALOG[criterion]
    function = resolve_function(entry.function, "criterion")
    assert entry.resumes == ("checkpoint" in inspect.signature(function).parameters)
    assert "checkpoint" not in entry.options


def test_the_scores_of_a_layer_go_on_where_they_were_cut_off(meter, tmp_path, monkeypatch, capsys):
    model = randomise(ConvNetwork(classes=10)).eval()
    run = Run(model, {}, load("digits"), np.arange(100), "cpu", {"net": "toy", "seed": 0}, memory_mb=64)
    game = {"site": "activation", "payoff": "loss", "precision": "tf32"}
    parts = {"layer": "features.4", "images": 20, "game": game, "errors of": []}
    criteria = {name: SCORINGS[name] for name in ("permutation", "settle", "rescored")} | {"taylor": ("taylor", {})}
    folder = tmp_path / "unfinished"
    walk, walks = LayerGame.walk, []

    def counted(*given):
        if len(walks) == allowed:
            raise CutOffError
        walks.append(given)
        return walk(*given)

    monkeypatch.setattr(LayerGame, "walk", counted)
    allowed = None

    def write(place, unfinished=None):
        tasks = {}
        for name, (method, options) in criteria.items():
            for trial in range(1 if name == "taylor" else 2):
                label = f"{name}/features.4/trial{trial}"
                task = Task("score_layer", {**parts, "method": method, "options": options, "trial": trial})
                names = run.name | {"criterion": name}
                tasks[label] = task.describe() | {"names": names, "stem": str(tmp_path / place / label)}
        work = Work(tmp_path / f"store of {place}", tasks, unfinished)
        work.find()
        keep_scores(run, work)

    write("whole")
    total, allowed = len(walks), len(walks) - 1
    walks.clear()
    with pytest.raises(CutOffError):
        write("scores", folder)
    assert {path.name for path in folder.iterdir()} >= {f"{name}-trial0.pt" for name in criteria if name != "taylor"}
    walks.clear()
    shutil.rmtree(tmp_path / "scores")  # as Snakemake does
    write("scores", folder)
    assert len(walks) == 1 < total
    assert not folder.exists()
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.npz"))
    assert len(files) == 7
    for file in files:
        assert same(read_scores(tmp_path / "scores" / file), read_scores(tmp_path / "whole" / file))


def test_long_draws_are_kept_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(LayerGame, "at_once", lambda *_: 1)
    monkeypatch.setattr(unfinished, "INTERVAL", 0)
    file, game = tmp_path / "draws.pt", LayerGame(randomise(ConvNetwork()), "features.4", images(4), labels(4))
    whole = shapley.permutation(game, permutations=3)
    walk, walks = LayerGame.walk, []

    def cut_off(self, orders, depth=None):
        if len(walks) == 2:
            raise CutOffError
        walks.append(len(orders))
        return walk(self, orders, depth)

    monkeypatch.setattr(LayerGame, "walk", cut_off)
    with pytest.raises(CutOffError):
        shapley.permutation(game, permutations=3, checkpoint=file)
    assert walks == [1, 1]
    walked = []
    monkeypatch.setattr(LayerGame, "walk", lambda *given: (walked.append(len(given[1])), walk(*given))[1])
    assert torch.equal(shapley.permutation(game, permutations=3, checkpoint=file).values, whole.values)
    assert walked == [1]
