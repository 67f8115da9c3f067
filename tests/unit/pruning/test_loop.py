"""The pruning loop: layer by layer from the output, or all layers at once."""

from __future__ import annotations

import copy

import pytest
import torch

import shapprune
from shapprune import LayerGame, ShapPruneError
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.networks.evaluation import evaluate
from shapprune.pruning.choice import choose_for_loss, choose_for_size, choose_units
from shapprune.pruning.loop import prune_steps
from shapprune.pruning.target import Target
from tests.toys import ConvNetwork, ResidualNetwork, images, labels, randomise

LAYERS = ["features.0", "features.4", "fc"]


def leave_one_out(game):
    return shapprune.score(game, "leave-one-out")


def signed(game):
    return shapprune.score(game, "taylor", signed=True)


def never(game):
    pytest.fail(f"{game.layer} was scored")


def steps(model, target, score=leave_one_out, count=6, **options):
    return list(prune_steps(model, LAYERS, target, images(count), labels(count), score, **options))


def removed(chain):
    return {layer: units for step in chain for layer, units in step.removed.items()}


def widths(model):
    return [model.features[0].out_channels, model.features[4].out_channels, model.fc.out_features]


def test_layers_are_pruned_from_the_output_and_scored_on_what_is_left():
    model = randomise(ConvNetwork())
    chain = steps(model, Target(ratio=0.5))
    assert [step.number for step in chain] == [1, 2, 3]
    assert [list(step.removed) for step in chain] == [["fc"], ["features.4"], ["features.0"]]
    before = model
    for step, count in zip(chain, [4, 3, 2], strict=True):
        ((layer, units),) = step.removed.items()
        assert len(units) == count
        scores = leave_one_out(LayerGame(before, layer, images(6), labels(6)))
        assert units == sorted(scores.order()[:count].tolist())
        assert torch.equal(step.scores[layer].values, scores.values)
        before = step.model
    assert widths(before) == [2, 3, 4]
    assert set(before.kept_units) == set(LAYERS)
    assert model.fc.out_features == 8


def test_the_ratio_is_rounded_down():
    for ratio, counts in ((0.25, [2, 1, 1]), (0.1, [0, 0, 0])):
        chain = steps(randomise(ConvNetwork()), Target(ratio=ratio))
        assert [len(units) for units in removed(chain).values()] == counts


def test_same_seed_same_chain():
    def permutation(game):
        return shapprune.score(game, "permutation", seed=4)

    first, second = (steps(randomise(ConvNetwork()), Target(ratio=0.5), permutation) for _ in range(2))
    assert removed(first) == removed(second)
    assert torch.equal(first[-1].model.eval()(images(2)), second[-1].model.eval()(images(2)))


def test_units_of_an_untrained_network_with_negative_scores_leave():
    model = randomise(ConvNetwork()).eval()
    before = model
    for step in steps(model, Target(negative=True), signed, 20):
        ((layer, units),) = step.removed.items()
        values = signed(LayerGame(before, layer, images(20), labels(20))).aggregate()
        negative = torch.nonzero(values < 0).flatten().tolist()
        assert units == (negative if len(negative) < len(values) else sorted(set(negative) - {int(values.argmax())}))
        before = step.model
    assert before is not model
    assert count_parameters(before) < count_parameters(model)
    loss = [evaluate(network, images(20), labels(20))[0] for network in (model, before)]
    assert loss[1] < loss[0]


def test_scores_that_are_never_negative_remove_nothing():
    chain = steps(randomise(ConvNetwork()), Target(negative=True), lambda game: shapprune.score(game, "weight-norm"))
    assert removed(chain) == {"fc": [], "features.4": [], "features.0": []}


@pytest.mark.parametrize("multiple", [1, 3])
def test_units_leave_while_the_loss_grows_no_further(multiple):
    model = randomise(ConvNetwork()).eval()
    before = model
    chain = steps(model, Target(loss_growth=0.1, multiple=multiple), signed, 20)
    for step in chain:
        ((layer, units),) = step.removed.items()
        game = LayerGame(before, layer, images(20), labels(20))
        order, most = signed(game).order(), len(choose_for_loss(game, signed(game).order(), 0.1))
        kept = min(game.units, multiple * -(-(game.units - most) // multiple))
        assert units == sorted(order[: game.units - kept].tolist())
        before = step.model
    assert any(removed(chain).values())


@pytest.mark.parametrize("target", [Target(ratio=0.5), Target(loss_growth=0.5), Target(negative=True)])
def test_a_game_is_made_once_a_layer(target, monkeypatch):
    made = []

    class Counted(LayerGame):
        def __init__(self, model, layer, *arguments, **options):
            made.append(layer)
            super().__init__(model, layer, *arguments, **options)

    monkeypatch.setattr("shapprune.pruning.loop.LayerGame", Counted)
    steps(randomise(ConvNetwork()), target, signed)
    assert made == list(reversed(LAYERS))


def test_arguments_of_the_game_are_passed_on():
    payoffs = []

    def note(game):
        payoffs.append((game.site, game.payoff.__name__))
        return signed(game)

    steps(randomise(ConvNetwork()), Target(ratio=0.5), note, site="output", payoff="margin")
    assert payoffs == [("output", "margin")] * 3


@pytest.mark.parametrize("repair", ["batchnorm", "least-squares"])
def test_a_chain_with_repair_scores_the_repaired_network(repair):
    model, target = randomise(ConvNetwork()).eval(), Target(ratio=0.5)
    state = copy.deepcopy(model.state_dict())
    chain = steps(model, target, signed, 20, repair=repair)
    replayed = steps(model, target, never, 20, repair=repair, done=removed(chain))
    plain = steps(model, target, never, 20, done=removed(chain))
    assert [step.scores for step in replayed] == [{}, {}, {}]
    with torch.no_grad():
        assert torch.equal(chain[-1].model(images(5)), replayed[-1].model(images(5)))
        assert not torch.allclose(chain[-1].model(images(5)), plain[-1].model(images(5)), atol=1e-3)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_chain_goes_on_after_the_steps_that_are_done():
    model, scored = randomise(ConvNetwork()), []

    def note(game):
        scored.append(game.layer)
        return leave_one_out(game)

    whole = steps(model, Target(ratio=0.5), note)
    scored.clear()
    resumed = steps(model, Target(ratio=0.5), note, done={"fc": whole[0].removed["fc"]})
    assert scored == ["features.4", "features.0"]
    assert removed(resumed) == removed(whole)


def all_scores(model, x, layers=LAYERS, score=leave_one_out):
    return {layer: score(LayerGame(model, layer, x, labels(len(x)))) for layer in layers}


@pytest.mark.parametrize(
    "target",
    [
        Target(ratio=0.5),
        Target(widths={"features.0": 1, "fc": 5}),
        Target(parameters=200),
        Target(macs=3000),
        Target(ratio=0.5, multiple=3),
    ],
)
def test_all_layers_at_once_by_stored_scores(target):
    model, x = randomise(ConvNetwork()).eval(), images(6)
    stored = all_scores(model, x)
    (step,) = prune_steps(model, LAYERS, target, x, stored=stored, aggregate="mean+2std", sequential=False)
    scores, options = {layer: each.aggregate("mean+2std") for layer, each in stored.items()}, {}
    options[target.measure] = getattr(target, target.measure)
    if target.measure in ("parameters", "macs"):
        expected = choose_for_size(model, scores, x, multiple=target.multiple, **options)
        count = count_parameters(step.model) if target.measure == "parameters" else count_macs(step.model, x)
        assert count <= options[target.measure]
    else:
        expected = choose_units(scores, multiple=target.multiple, **options)
    assert step.removed == expected
    assert step.scores == {}
    assert widths(step.model) == [n - len(expected[layer]) for layer, n in zip(LAYERS, [4, 6, 8], strict=True)]


def test_all_layers_at_once_are_scored_on_the_whole_network():
    model = randomise(ConvNetwork())
    (step,) = steps(model, Target(ratio=0.5), sequential=False)
    scores = {layer: each.aggregate() for layer, each in all_scores(model, images(6)).items()}
    assert step.removed == choose_units(scores, ratio=0.5)
    assert list(step.scores) == LAYERS


@pytest.mark.parametrize("sequential", [True, False])
def test_a_size_is_reached_step_by_step_and_at_once(sequential):
    chain = steps(randomise(ConvNetwork()), Target(parameters=200), sequential=sequential)
    sizes = [count_parameters(step.model) for step in chain]
    assert len(sizes) == (3 if sequential else 1)
    assert sizes[-1] <= 200 < min([count_parameters(ConvNetwork()), *sizes[:-1]])


def test_stored_scores_with_an_allowed_growth_of_the_loss():
    model, x = randomise(ConvNetwork()), images(20)
    stored = all_scores(model, x)
    (step,) = steps(model, Target(loss_growth=0.1), never, 20, stored=stored, sequential=False)
    for layer, scores in stored.items():
        assert step.removed[layer] == choose_for_loss(LayerGame(model, layer, x, labels(20)), scores.order(), 0.1)


def test_a_group_loses_its_units_in_one_step():
    model, layers = randomise(ResidualNetwork()), ["stem", "conv1", "conv2"]
    target = Target(ratio=0.5, groups=[("stem", "conv2"), ("conv1",)])
    chain = list(prune_steps(model, layers, target, images(6), labels(6), leave_one_out))
    assert [list(step.removed) for step in chain] == [["conv1"], ["stem", "conv2"]]
    assert chain[1].removed["stem"] == chain[1].removed["conv2"]
    total = sum(chain[1].scores[layer].aggregate() for layer in ("stem", "conv2"))
    assert chain[1].removed["stem"] == sorted(total.argsort()[:2].tolist())


def test_no_layers_no_steps():
    for sequential in (True, False):
        assert not list(prune_steps(ConvNetwork(), [], Target(ratio=0.5), images(2), sequential=sequential))


@pytest.mark.parametrize(
    ("layers", "target", "named"),
    [
        (["features.1"], Target(ratio=0.5), "'features.1'"),
        (["fc"], Target(widths={"fcc": 2}), "'fcc'"),
        (["fc"], Target(widths={"fc": 9}), "9"),
        (["fc"], Target(parameters=10), "10 parameters"),
        (["fc"], Target(ratio=0.5, groups=[("fc", "features.0")]), "'features.0'"),
    ],
)
def test_what_cannot_be_pruned_is_refused_before_scoring(layers, target, named):
    with pytest.raises(ShapPruneError, match=named):
        next(prune_steps(ConvNetwork(), layers, target, images(4), labels(4), never))


def test_a_layer_without_scores_needs_a_criterion():
    with pytest.raises(ShapPruneError, match="'fc'"):
        next(prune_steps(ConvNetwork(), LAYERS, Target(ratio=0.5), images(4)))
