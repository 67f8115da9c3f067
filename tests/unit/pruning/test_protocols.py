"""The protocols beside the low-data one: untrained networks, fine-tuning, compressing; and repair within a chain."""

from __future__ import annotations

import copy

import pytest
import torch

import shapprune
from shapprune import LayerGame, ShapPruneError
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.networks.recipe import Recipe
from shapprune.networks.training import evaluate
from shapprune.pruning.choice import choose_for_loss, choose_units
from shapprune.pruning.protocols.compress import compress
from shapprune.pruning.protocols.fine_tune import fine_tune
from shapprune.pruning.protocols.low_data import prune_sequentially
from shapprune.pruning.protocols.untrained import prune_untrained
from tests.toys import ConvNetwork, images, labels, randomise

LAYERS = ["features.0", "features.4", "fc"]


def signed(game):
    return shapprune.score(game, "taylor", signed=True)


def test_units_of_an_untrained_network_with_negative_scores_leave():
    model = randomise(ConvNetwork()).eval()
    before = model
    for step in prune_untrained(model, LAYERS, images(20), labels(20), signed):
        values = signed(LayerGame(before, step.layer, images(20), labels(20))).aggregate()
        negative = torch.nonzero(values < 0).flatten().tolist()
        assert step.removed == (
            negative if len(negative) < len(values) else sorted(set(negative) - {int(values.argmax())})
        )
        before = step.model
    assert before is not model
    assert count_parameters(before) < count_parameters(model)
    loss = [evaluate(network, images(20), labels(20))[0] for network in (model, before)]
    assert loss[1] < loss[0]


def test_scores_that_are_never_negative_remove_nothing():
    model = randomise(ConvNetwork()).eval()
    steps = prune_untrained(model, LAYERS, images(6), labels(6), lambda game: shapprune.score(game, "weight-norm"))
    assert [step.removed for step in steps] == [[], [], []]


def test_a_chain_by_allowed_growth_of_the_loss():
    model = randomise(ConvNetwork()).eval()
    before = model
    steps = list(prune_sequentially(model, LAYERS, images(20), labels(20), signed, growth=0.1))
    for step in steps:
        game = LayerGame(before, step.layer, images(20), labels(20))
        assert step.removed == choose_for_loss(game, signed(game).order(), 0.1)
        before = step.model
    assert any(step.removed for step in steps)


def test_a_chain_needs_one_rule_of_choice():
    for choice in ({}, {"ratio": 0.5, "negative": True}, {"negative": True, "growth": 0.1}):
        with pytest.raises(ShapPruneError, match="exactly one of ratio, negative and growth"):
            list(prune_sequentially(ConvNetwork(), LAYERS, images(4), labels(4), signed, **choice))


@pytest.mark.parametrize("repair", ["batchnorm", "least-squares"])
def test_a_chain_with_repair_scores_the_repaired_network(repair):
    model = randomise(ConvNetwork()).eval()
    state = copy.deepcopy(model.state_dict())
    chain = list(prune_sequentially(model, LAYERS, images(20), labels(20), signed, 0.5, repair=repair))
    again = {step.layer: step.removed for step in chain}
    replayed = list(prune_sequentially(model, LAYERS, images(20), labels(20), signed, 0.5, done=again, repair=repair))
    plain = list(prune_sequentially(model, LAYERS, images(20), labels(20), signed, 0.5, done=again))
    with torch.no_grad():
        assert torch.equal(chain[-1].model(images(5)), replayed[-1].model(images(5)))
        assert not torch.allclose(chain[-1].model(images(5)), plain[-1].model(images(5)), atol=1e-3)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


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


def all_scores(model, x):
    return {
        layer.name: shapprune.score(LayerGame(model, layer.name, x, labels(len(x))), "taylor").aggregate()
        for layer in shapprune.prunable_layers(model, x)
    }


def test_all_layers_at_once():
    model, x = randomise(ConvNetwork()).eval(), images(6)
    scores = all_scores(model, x)
    small = compress(model, scores, x, ratio=0.5, skip=["fc"])
    assert [small.features[0].out_channels, small.features[4].out_channels, small.fc.out_features] == [2, 3, 8]
    gone = choose_units(scores, ratio=0.5)
    assert small.kept_units["features.4"] == [unit for unit in range(6) if unit not in gone["features.4"]]
    small = compress(model, scores, x, widths={"features.0": 1, "fc": 5})
    assert [small.features[0].out_channels, small.features[4].out_channels, small.fc.out_features] == [1, 6, 5]
    assert count_parameters(compress(model, scores, x, parameters=200)) <= 200
    assert count_macs(compress(model, scores, x, macs=3000), x) <= 3000
    for sizes in ({}, {"ratio": 0.5, "macs": 300}):
        with pytest.raises(ShapPruneError, match="exactly one of ratio, widths, parameters and macs"):
            compress(model, scores, x, **sizes)
