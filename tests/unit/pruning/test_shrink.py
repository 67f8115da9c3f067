"""Networks that fit a budget: the budget is met, and what is said of them holds."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

import shapprune
from shapprune import ShapPruneError
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.networks.builders import build
from shapprune.pruning.maker import How, Maker
from shapprune.pruning.selection import Structure
from tests.toys import ConvNetwork, ResidualNetwork, images, randomise
from tests.unit import transformers
from tests.unit.shallow import shallow


def narrow(name):
    """A shallow architecture with an eighth of the units of each layer, so that few are to be put in order."""
    torch.manual_seed(0)
    model, x = shallow(name, 5).eval(), torch.randn(4, 3, 48, 48)
    layers = [layer for layer in shapprune.prunable_layers(model, x, coupled=True) if layer.group]
    return shapprune.remove_units(model, {layer.name: range(layer.units * 7 // 8) for layer in layers}, x), x


@pytest.fixture(scope="module")
def digits():
    """A trained network, images that it was trained on, and others."""
    from shapprune.data.prepared import tensors
    from shapprune.data.sets import load
    from shapprune.networks.randomness import seeded
    from shapprune.networks.recipe import Recipe
    from shapprune.networks.training import fit

    data = load("digits")
    train, labels = tensors(data, "train")
    with seeded(0):
        model = build("mlp", shape=tuple(train.shape[1:]), classes=10)
    fit(model, train, labels, train[:200], labels[:200], Recipe(epochs=15, lr=0.1), progress=False)
    return model.eval(), train, tensors(data, "test")[0]


@pytest.mark.parametrize("measure", ["macs", "parameters", "megabytes"])
@pytest.mark.parametrize("network", [ConvNetwork, ResidualNetwork])
@pytest.mark.parametrize("allocation", ["damage", "uniform"])
def test_a_budget_is_met_and_used(measure, network, allocation):
    model, x = randomise(network()), images(20)
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    result = shapprune.prune(model, x, **{measure: 0.6}, steps=0, allocation=allocation)
    name = "bytes" if measure == "megabytes" else measure
    share = result.cost["after"][name] / result.cost["before"][name]
    assert 0.3 < share <= 0.6
    assert result.cost["after"]["macs"] == count_macs(result.model, x)
    assert result.cost["after"]["parameters"] == count_parameters(result.model)
    assert {name: len(kept) for name, kept in result.kept.items()}.items() <= {
        name: len(module.weight) for name, module in result.model.named_modules() if hasattr(module, "weight")
    }.items()
    assert list(result.stages) == ["removed", "repaired"]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1", "resnet18"])
def test_budgets_of_torchvision_networks(name):
    model, x = narrow(name)
    result = shapprune.prune(model, x, macs=0.5, steps=0, copies=0)
    assert 0.4 < result.cost["after"]["macs"] / result.cost["before"]["macs"] <= 0.5
    assert result.cost["after"]["macs"] == count_macs(result.model, x)


def test_the_same_units_leave_as_the_ratio_says():
    result = shapprune.prune(randomise(ConvNetwork()), images(10), ratio=0.5, steps=0)
    assert [len(kept) for kept in result.kept.values()] == [2, 3, 4]


def test_other_criteria_with_the_same_repair():
    model, x = randomise(ConvNetwork()), images(12)
    results = {
        name: shapprune.prune(model, x, macs=0.5, steps=0, criterion=name)
        for name in ("reconstruction", "weight-norm", "taylor")
    }
    assert len({str(each.kept) for each in results.values()}) > 1
    assert all(list(each.stages) == ["removed", "repaired"] for each in results.values())


def test_what_is_better_is_measured_to_be(digits):
    """Of a trained network: reconstruction with all steps agrees more than norms without them, on unseen images."""
    model, train, test = digits
    plain = shapprune.prune(
        model, train[:100], macs=0.02, criterion="weight-norm", allocation="uniform", repair="none", steps=0
    )
    best = shapprune.prune(model, train[:100], macs=0.02, steps=100)
    with torch.no_grad():
        whole = model(test).argmax(1)
        share = {
            name: float((each.model(test).argmax(1) == whole).double().mean())
            for name, each in (("plain", plain), ("best", best))
        }
    assert share["best"] > share["plain"] + 0.05


def test_agreement_covers_what_is_seen_later(digits):
    """The interval has the share of unseen images about as often as it says, here of a network that agrees on 97 %."""
    model, train, _ = digits
    unseen = train[len(train) // 2 :]
    with torch.no_grad():
        whole = model(unseen).argmax(1)
    covered, draws = 0, 10
    for draw in range(draws):
        chosen = torch.randperm(len(train) // 2, generator=torch.Generator().manual_seed(draw))[:60]
        result = shapprune.prune(model, train[chosen], macs=0.03, steps=0, copies=0, seed=draw)
        with torch.no_grad():
            later = float((result.model(unseen).argmax(1) == whole).double().mean())
        covered += result.agreement.low <= later <= result.agreement.high
    assert covered >= 0.9 * draws


def test_one_budget_of_a_curve_is_that_budget_alone():
    model, x = randomise(ConvNetwork()), images(16)
    curve = shapprune.tradeoff(model, x, budgets=(0.7, 0.4), steps=0)
    alone = shapprune.prune(model, x, macs=0.4, steps=0)
    assert curve[1].kept == alone.kept
    assert curve[1].agreement == alone.agreement
    for one, other in zip(curve[1].model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_distilling_is_the_same_again_and_not_worse(digits, tmp_path):
    model, train, _ = digits
    random = torch.get_rng_state()
    one, other = (shapprune.prune(model, train[:60], macs=0.02, steps=80, seed=3) for _ in range(2))
    assert torch.equal(random, torch.get_rng_state())
    assert one.distilled is not None
    assert one.stages == other.stages
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))
    assert not any(each.grad is not None for each in one.model.parameters())


def test_copies_of_the_images_are_used_where_they_help(digits):
    model, train, _ = digits
    found = {copies: shapprune.prune(model, train[:40], macs=0.05, steps=0, copies=copies) for copies in (0, 4, None)}
    assert (found[0].copies, found[4].copies) == (0, 4)
    best = found[None]
    assert best.copies in (0, 4)
    same = found[best.copies]
    assert best.agreement == same.agreement
    assert all(torch.equal(a, b) for a, b in zip(best.model.parameters(), same.model.parameters(), strict=True))
    pairs = zip(found[0].model.parameters(), found[4].model.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_the_repair_sees_the_images_and_copies_that_are_mixed_with_others(monkeypatch):
    seen = []
    monkeypatch.setattr("shapprune.pruning.maker.repair_by", lambda *arguments: seen.append(arguments[4:7:2]))
    model, grey = randomise(ConvNetwork()), torch.arange(5.0).reshape(5, 1, 1, 1).expand(5, *images(1).shape[1:])
    maker = Maker(Structure.of(model, grey[:2], ()), How(augmentation=("flip",)))
    maker.repair(model, {}, grey, copies=3)
    ((batch, originals),) = seen
    assert (originals, len(batch)) == (5, 20)
    assert torch.equal(batch[:5], grey)
    shades = batch[5:].reshape(3, 5, -1)
    assert torch.equal(shades, shades[..., :1].expand_as(shades))
    away = (shades[..., 0] - torch.arange(5.0)).abs()  # the farthest other shade is 2 to 4 away
    assert torch.all(away.max(1).values > 0.1)
    assert torch.all(away <= torch.tensor([4.0, 3.0, 2.0, 3.0, 4.0]) / 2)


def test_without_a_repair_there_is_no_such_stage():
    result = shapprune.prune(two_layers(), images(10, (4,)), macs=0.5, steps=0, repair="none")
    assert list(result.stages) == ["removed"]


def test_networks_that_flatten_by_view_are_distilled_and_repaired_with_copies():
    result = shapprune.prune(randomise(ConvNetwork()), images(20), ratio=0.5, copies=2, steps=8)
    assert result.copies == 2


def test_multiples_and_layers_that_are_skipped():
    model, x = build("lenet5").eval(), torch.rand(8, 1, 28, 28)
    result = shapprune.prune(model, x, macs=0.6, steps=0, multiple=4, skip=["fc1", "output"])
    full = {"conv1": 10, "conv2": 20, "fc2": 25}
    assert all(len(kept) % 4 == 0 or len(kept) == full[name] for name, kept in result.kept.items())
    assert "fc1" not in result.kept
    assert result.left_whole == {"fc1": "it is skipped"}


class Nan(nn.Sequential):
    def forward(self, x):
        return super().forward(x) * math.nan


class Infinite(nn.Sequential):
    def forward(self, x):
        return super().forward(x) * math.inf


class Centred(nn.Sequential):
    def forward(self, x):
        x = super().forward(x)
        return x - x.mean(0)


def two_layers(kind=nn.Sequential):
    return kind(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("model", "count", "how", "words"),
    [
        (two_layers(), 10, {}, "exactly one of macs"),
        (two_layers(), 10, {"macs": 0.5, "parameters": 0.5}, "exactly one of macs"),
        (two_layers(), 10, {"macs": 0}, "macs 0 is no budget"),
        (two_layers(), 10, {"macs": -3}, "macs -3 is no budget"),
        (two_layers(), 10, {"macs": math.nan}, "macs nan is no budget"),
        (two_layers(), 10, {"ratio": 1}, "ratio 1 is not strictly between 0 and 1"),
        (two_layers(), 10, {"macs": 56}, "the network has 56 macs now"),
        (two_layers(), 10, {"macs": 6}, "6 macs cannot be met: with the least units there are 7"),
        (
            two_layers(),
            10,
            {"macs": 6, "allocation": "uniform"},
            "6 macs cannot be met: with the least units there are 7",
        ),
        (two_layers(), 10, {"milliseconds": 1e-9}, "milliseconds cannot be met: with the least units there are"),
        (two_layers(), 10, {"milliseconds": 1e9}, "the network has .* milliseconds now"),
        (two_layers(), 1, {"macs": 0.5}, "1 calibration images were given, 2 or more"),
        (two_layers(Nan), 10, {"macs": 0.5}, "Nan puts out nan for the first images"),
        (two_layers(Infinite), 10, {"macs": 0.5}, "Infinite returns NaN or infinity"),
        (two_layers(Centred), 10, {"macs": 0.5}, "Centred puts out for an image depends on the others"),
        (nn.Sequential(nn.Linear(4, 3)), 10, {"macs": 0.5}, "no units of Sequential can leave"),
        (two_layers(), 10, {"macs": 0.5, "skip": ["1"]}, "unknown layer '1'"),
        (two_layers(), 10, {"macs": 0.5, "criterion": "reconstuction"}, "did you mean 'reconstruction'"),
        (two_layers(), 10, {"macs": 0.5, "repair": "sweep"}, "unknown repair 'sweep'"),
        (two_layers(), 10, {"macs": 0.5, "allocation": "even"}, "unknown allocation 'even'"),
        (two_layers(), 10, {"macs": 0.5, "augmentation": ["flop"]}, "unknown augmentation 'flop'"),
        (two_layers(), 10, {"macs": 0.5, "steps": -1}, "-1 steps of distilling"),
    ],
)
def test_bad_input_is_one_sentence(model, count, how, words):
    with pytest.raises(ShapPruneError, match=words):
        shapprune.prune(model, images(count, (4,)), **how)


def test_images_of_another_shape():
    with pytest.raises(ShapPruneError, match="the network fails on images of shape"):
        shapprune.prune(two_layers(), images(10, (5,)), macs=0.5)


def test_constant_and_dead_inputs_are_no_error():
    model, x = randomise(two_layers()), images(60, (4,))
    with torch.no_grad():
        model[0].weight[:4] = 0
        model[0].bias[:] = torch.tensor([-1.0, -1, 2, 2, 0, 0, 0, 0])
    result = shapprune.prune(model, x, macs=0.5, steps=0)
    assert result.kept["0"] == [4, 5, 6, 7]
    shapprune.prune(model, torch.zeros(10, 4), macs=0.5, steps=0)


@pytest.mark.parametrize("name", ["torchvision swin", "torchvision swin v2"])
@pytest.mark.parametrize("measure", ["macs", "parameters"])
def test_heads_in_windows_leave_for_a_budget(name, measure):
    case = transformers.CASES[name]
    model = transformers.build(case)
    neurons = [layer.name for layer in shapprune.prunable_layers(model, case.inputs) if layer.kind == "linear"]
    result = shapprune.prune(model, case.inputs, **{measure: 0.9}, steps=0, skip=neurons)
    assert result.cost["after"][measure] <= 0.9 * result.cost["before"][measure]
    assert result.model.kept_units.keys() <= {"features.1.0.attn", "features.3.0.attn", "features.3.1.attn"}
    assert result.model.kept_units
