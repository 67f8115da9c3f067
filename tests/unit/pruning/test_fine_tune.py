"""Pruned networks trained again."""

from __future__ import annotations

import copy

import pytest
import torch

from shapprune.networks.evaluation import evaluate
from shapprune.networks.recipe import Recipe
from shapprune.pruning.fine_tune import fine_tune
from tests.toys import ConvNetwork, images, labels, randomise


def easy(count, seed):
    """Images whose class is which of their thirds is bright."""
    truth = labels(count, 3, seed)
    x = images(count, seed=seed + 100)
    for k in range(3):
        x[truth == k, :, 2 * k : 2 * k + 3] += 2
    return x, truth


def test_fine_tuning_takes_the_best_epoch_or_the_network_as_it_was():
    model = randomise(ConvNetwork()).eval()
    state = copy.deepcopy(model.state_dict())
    train, held = easy(90, 1), easy(60, 2)
    tuned, epochs = fine_tune(model, *train, *held, Recipe(epochs=8, batch=30, lr=0.05, patience=3))
    assert 1 <= epochs <= 8
    assert evaluate(tuned, *held)[1] > evaluate(model, *held)[1] + 0.2
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    # A rate that destroys every network: the first is handed back.
    same, none = fine_tune(tuned, *train, *held, Recipe(epochs=2, batch=30, lr=1e-12, patience=1))
    assert none == 0 or evaluate(same, *held)[1] >= evaluate(tuned, *held)[1]
    untouched, none = fine_tune(tuned, train[0][:0], train[1][:0], *held, Recipe(epochs=2))
    assert none == 0
    assert all(torch.equal(value, tuned.state_dict()[name]) for name, value in untouched.state_dict().items())


def test_fine_tuning_goes_on_after_it_was_cut_off(tmp_path, monkeypatch):
    from shapprune.networks import training

    model, recipe = randomise(ConvNetwork()).eval(), Recipe(epochs=4, batch=30, lr=0.05)
    train, held = easy(90, 1), easy(60, 2)
    whole, epochs = fine_tune(model, *train, *held, recipe)
    report, seen = training._report, []

    def cut(*given):
        seen.append(given)
        report(*given)
        if len(seen) == 3:
            raise InterruptedError

    monkeypatch.setattr(training, "_report", cut)
    with pytest.raises(InterruptedError):
        fine_tune(model, *train, *held, recipe, checkpoint=tmp_path / "cut.pt")
    monkeypatch.setattr(training, "_report", report)
    resumed, same = fine_tune(model, *train, *held, recipe, checkpoint=tmp_path / "cut.pt")
    assert same == epochs
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in resumed.state_dict().items())
