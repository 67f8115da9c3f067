"""BranchGame: what coalitions of branches and blocks are worth, and what is not computed for them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapprune
from shapprune import BranchGame, ShapPruneError, oracle
from shapprune.criteria.catalog import CATALOG
from shapprune.data.vision import torchvision
from tests.residual import Layer, Nested, Parallel, SmallResNet, SmallTransformer
from tests.toys import ConvNetwork, images, labels, randomise


def first_output(outputs, labels):
    return outputs[:, 0]


def game(model=None, count=5, **options):
    return BranchGame(randomise(model or SmallResNet()), images(count), labels(count), **options)


def some(units, count=9, seed=0):
    kept = torch.rand(count, units, generator=torch.Generator().manual_seed(seed)) < 0.6
    kept[0], kept[1] = True, False
    return kept


def resnet_by_hand(model, x, kept):
    x = model.stem(x)
    for block, keep in zip(model.blocks, kept, strict=True):
        shortcut = x if block.downsample is None else block.downsample(x)
        branch = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
        x = F.relu(shortcut + keep * branch)
    return model.output(x.mean((2, 3)))


def transformer_by_hand(model, x, kept):
    x = model.patches(x).flatten(2).transpose(1, 2) + model.positions
    for place, layer in enumerate(model.layers):
        if isinstance(layer, Layer):
            y = layer.norm1(x)
            x = x + kept[2 * place] * layer.attention(y, y, y)[0]
            x = x + kept[2 * place + 1] * layer.mlp(layer.norm2(x))
        else:
            y = layer.norm(x)
            x = x + kept[2 * place] * layer.mix(y) + kept[2 * place + 1] * layer.mlp(y)
    return model.head(model.norm(x).mean(1))


def nested_by_hand(model, x, kept):
    x = F.relu(model.outer(x))
    y = model.enter(x)
    y = F.relu(y + kept[1] * model.inner(y))
    return model.output((x + kept[0] * model.leave(y)).flatten(1))


BY_HAND = {
    "resnet": (SmallResNet, resnet_by_hand),
    "transformer": (SmallTransformer, transformer_by_hand),
    "parallel": (lambda: SmallTransformer(2, Parallel), transformer_by_hand),
    "nested": (Nested, nested_by_hand),
}


@pytest.mark.parametrize("memory_mb", [0, 512])
@pytest.mark.parametrize("network", BY_HAND)
def test_values_equal_skipping_by_hand(network, memory_mb):
    build, by_hand = BY_HAND[network]
    g = game(build(), memory_mb=memory_mb)
    model, kept = g.model.eval(), some(g.units)
    with torch.no_grad():
        outputs = [by_hand(model, g.images, row) for row in kept]
    expected = torch.stack([-F.cross_entropy(each, g.labels, reduction="none") for each in outputs])
    torch.testing.assert_close(g.value(kept), expected, atol=1e-4, rtol=1e-4)
    assert g.evaluations == len(kept)


@pytest.mark.parametrize("memory_mb", [0, 512])
@pytest.mark.parametrize("network", BY_HAND)
def test_coalitions_of_each_examples_own(network, memory_mb):
    g = game(BY_HAND[network][0](), memory_mb=memory_mb)
    own = torch.stack([some(g.units, 5, seed) for seed in range(4)])
    values = g.value(own)
    for c in range(4):
        for e in range(5):
            torch.testing.assert_close(values[c, e], g.value(own[c, e][None])[0, e], atol=1e-4, rtol=1e-4)


def test_blocks_are_skipped_with_all_of_their_branches():
    model = randomise(SmallTransformer(3))
    blocks = BranchGame(model, images(4), kind="blocks", payoff="kl")
    branches = BranchGame(model, images(4), payoff="kl")
    assert blocks.names == ["layers.0", "layers.1", "layers.2"]
    kept = some(3, 6)
    torch.testing.assert_close(blocks.value(kept), branches.value(kept.repeat_interleave(2, 1)))


def test_torchvision_networks_whose_sizes_count_images():
    model = torchvision.models.SwinTransformer([4, 4], 8, [2, 2], [2, 2], [2, 2], num_classes=3).eval()
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    g = BranchGame(model, x, kind="blocks", payoff=first_output, labels=labels(3))
    one = g.value(torch.tensor([[True, False, True, True]]))[0]
    model.features[1][1] = nn.Identity()
    torch.testing.assert_close(one, model(x)[:, 0].detach())


def test_what_is_skipped_is_not_computed_and_shared_beginnings_run_once():
    g, calls = game(), Counter()
    for name, module in g.model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _m, given, _o, name=name: calls.update({name: len(given[0])}))
    full, without_first, without_last = [True] * 3, [False, True, True], [True, True, False]
    g.value(torch.tensor([full, without_last]))
    assert (calls["stem.0"], calls["blocks.0.conv1"], calls["blocks.1.conv1"]) == (5, 5, 5)
    assert calls["blocks.2.conv1"] == 5  # for the full coalition
    calls.clear()
    g.value(torch.tensor([without_first, [False] * 3]))
    assert (calls["stem.0"], calls["blocks.0.conv1"], calls["blocks.1.conv1"]) == (5, 0, 5)
    assert calls["blocks.1.downsample.0"] == 5  # it comes before the branch, which they share


def test_networks_are_handed_back_as_they_came():
    model = randomise(SmallResNet())
    model.blocks[0].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    training = [module.training for module in model.modules()]
    x = images(4)
    same = x.clone()
    g = BranchGame(model, x, labels(4))
    shapprune.shapley.permutation(g, permutations=2)
    g.gate_gradient(torch.ones(1, 3))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(x, same)


def test_walks_are_values_along_orders():
    g = game(SmallTransformer())
    orders = torch.stack([torch.stack([torch.randperm(4) for _ in range(5)]) for _ in range(3)])
    for depth in (1, 3, 4, None):
        torch.testing.assert_close(g.walk(orders, depth), super(BranchGame, g).walk(orders, depth))
    fresh = g.fresh()
    assert fresh.evaluations == 0
    fresh.walk(orders)
    assert fresh.evaluations == 3 * 3 + 2


def test_without_some_players():
    g = game(SmallTransformer())
    left = g.without([2])
    torch.testing.assert_close(left.full, g.value(torch.tensor([[True, True, False, True]]))[0])
    values = shapprune.shapley.exact(left).values
    assert values[:, 2].abs().max() < 1e-12
    assert left.gate_gradient(torch.ones(1, 4))[..., 2].abs().max() == 0
    assert g.evaluations == left.evaluations
    with pytest.raises(ShapPruneError, match=r"units 0 ... 3, not \[4\]"):
        g.without([4])


@pytest.mark.parametrize("network", BY_HAND)
def test_gate_gradients_are_those_of_branches_times_gates(network):
    build, by_hand = BY_HAND[network]
    g = game(build(), payoff=first_output)
    gates = torch.full((g.units,), 0.7, requires_grad=True)
    values = [by_hand(g.model.eval(), one[None], gates)[0, 0] for one in g.images]
    slopes = [torch.autograd.grad(value, gates)[0] for value in values]
    torch.testing.assert_close(g.gate_gradient(gates.detach()[None])[0], torch.stack(slopes), atol=1e-4, rtol=1e-4)


def test_gates_of_coalitions_may_be_each_examples_own():
    g = game(SmallTransformer())
    own = torch.stack([some(4, 5)])
    for e in range(5):
        torch.testing.assert_close(g.gate_gradient(own)[0, e], g.gate_gradient(own[:, e])[0, e])
    assert g.evaluations == 2 * 5 * 3
    with pytest.raises(ShapPruneError, match="'agreement' has no gradient"):
        game(payoff="agreement").gate_gradient(torch.ones(1, 3))


FITTING = [name for name, each in CATALOG.items() if each.game != "LayerGame"]


@pytest.mark.parametrize("criterion", FITTING)
def test_criteria_score_branches(criterion, tmp_path):
    g = game(payoff="kl")
    scores = shapprune.score(g, criterion, **({"of": "leave-one-out"} if criterion == "rescored" else {}))
    assert scores.values.shape[1] == 3
    assert scores.values.isfinite().all()
    if CATALOG[criterion].shapley and criterion in ("exact", "permutation", "regression"):
        torch.testing.assert_close(scores.values.sum(1), (g.full - g.empty).double(), atol=1e-4, rtol=1e-4)


def test_criteria_of_layers_are_refused():
    others = [name for name, each in CATALOG.items() if each.game == "LayerGame"]
    assert {"weight-norm", "apoz", "taylor"} <= set(others)
    for name in others:
        with pytest.raises(ShapPruneError, match=f"{name} scores units of a layer, so it needs a LayerGame"):
            shapprune.score(game(), name)


def test_tables_and_searches():
    g = game(SmallTransformer(), payoff="kl")
    table = oracle.coalition_table(g)
    sets = oracle.oracle_sets(table)
    assert table[-1] == pytest.approx(0, abs=1e-6)
    assert [each.units for each in oracle.search_sets(g)] == sets
    np.testing.assert_allclose(oracle.shapley_values(table), shapprune.shapley.exact(g).aggregate("mean"), atol=1e-5)
    assert shapprune.removal_curve(g, [3, 1, 0, 2]).loss.shape == (5,)
    with pytest.raises(ShapPruneError, match=r"2\^22 coalitions of the 22 units"):
        shapprune.shapley.exact(BranchGame(SmallTransformer(11), images(2), payoff="kl"))


def test_scorings_go_on_from_checkpoints(tmp_path):
    path, g = tmp_path / "unfinished", game()
    one = shapprune.score(g, "permutation", seed=3, checkpoint=path)
    assert torch.equal(one.values, shapprune.score(game(), "permutation", seed=3, checkpoint=path).values)
    parts = [repr(each) for each in g.identity() if not isinstance(each, torch.Tensor | np.ndarray)]
    other = [repr(each) for each in game(payoff="kl").identity() if not isinstance(each, torch.Tensor | np.ndarray)]
    assert parts != other


def test_draws_do_not_change_with_the_other_examples():
    x, y, model = images(6), labels(6), randomise(SmallTransformer())
    whole = shapprune.score(BranchGame(model, x, y), "permutation", seed=1).values
    part = slice(2, 5)
    half = BranchGame(model, x[part], y[part], examples=np.arange(6)[part])
    torch.testing.assert_close(shapprune.score(half, "permutation", seed=1).values, whole[part], atol=1e-5, rtol=1e-5)


def test_refusals_are_told_in_a_sentence():
    x = images(3)
    with pytest.raises(ShapPruneError, match=r"payoff 'loss' needs labels; .* take payoff 'kl' or 'agreement'"):
        BranchGame(SmallResNet(), x)
    with pytest.raises(ShapPruneError, match="3 scoring images and 2 labels"):
        BranchGame(SmallResNet(), x, labels(2))
    with pytest.raises(ShapPruneError, match="ConvNetwork has no residual branches"):
        BranchGame(ConvNetwork(), x, labels(3))
    with pytest.raises(ShapPruneError, match=r"\[C, 3\] or \[C, 3, 3\] is needed"):
        BranchGame(SmallResNet(), x, labels(3)).value(torch.ones(1, 4, dtype=torch.bool))
    with pytest.raises(ShapPruneError, match="unknown precision"):
        BranchGame(SmallResNet(), x, labels(3), precision="fp8")


def test_low_precision_is_rougher():
    exact, rough = (game(precision=name).value(some(3)) for name in ("fp32", "bf16"))
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(exact, rough, atol=0.1, rtol=0.1)
