"""Removal on trial: what is listed can be removed, and the rest has a reason; modes, flags and attributes stay."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, weight_norm
from torch.nn.utils.prune import l1_unstructured

from shapprune import LayerGame, ShapPruneError, prunable_layers, prune, remove_units, score
from shapprune.pruning.removal import mask_units
from tests.toys import ConvNetwork, images, labels, randomise
from tests.unit.graph.odd import (
    Chunked,
    FixedView,
    Half,
    Inside,
    JoinedImages,
    Net,
    Renamed,
    Shuffled,
    ShuffledLast,
    Standardised,
    Tokens,
    Twice,
)


def masked_by(module, conv):
    l1_unstructured(module, conv, 0.5)
    return module


COMPUTED = {
    "weight norm": lambda conv: parametrizations.weight_norm(conv),
    "old weight norm": lambda conv: weight_norm(conv),
    "spectral norm": lambda conv: parametrizations.spectral_norm(conv),
    "mask": lambda conv: masked_by(conv, "weight"),
    "mask of the bias": lambda conv: masked_by(conv, "bias"),
}


def computed(kind, *layers):
    model = Net()
    for layer in layers:
        setattr(model, layer, COMPUTED[kind](getattr(model, layer)))
    return model


def listed(model, x):
    """The layers whose units can be removed, and the reasons of the others."""
    found = prunable_layers(model, x, coupled=True)
    return [each.name for each in found if each.group], {each.name: each.coupled for each in found if not each.group}


# Network -> the layers that can lose units, and what is said of one that cannot.
KINDS = {
    "plain": (Net, ["one", "two", "three"], None, ""),
    "view of fixed size": (FixedView, ["one", "three"], "two", "shape '[-1, 20]' is invalid"),
    "shuffled channels": (Shuffled, ["two", "three"], "one", "into 'view'"),
    "shuffled behind": (ShuffledLast, ["one", "last", "three"], "two", "into 'view'"),
    "chunks": (Chunked, ["two", "three"], "one", "into 'chunk'"),
    "beside the images": (JoinedImages, ["two", "three"], "one", "side by side with what no layer puts out"),
    "tokens": (Tokens, ["one", "three"], None, ""),
    "used twice": (Twice, ["three"], "two", "is used 2 times in one pass"),
    "read by one that is used twice": (Twice, ["three"], "one", "into 'two', which is used 2 times in one pass"),
    "inside attention": (Inside, ["one", "three"], "attention.out_proj", "its units go on into 'reshape'"),
    "subclass of the same forward": (lambda: Net(conv=Renamed), ["one", "two", "three"], None, ""),
    "subclass with a forward": (lambda: Net(conv=Standardised), ["three"], "two", "a Standardised with a forward"),
    "linear subclass": (lambda: Net(linear=Half), ["one"], "three", "a Half with a forward"),
    **{
        kind: (lambda kind=kind: computed(kind, "one"), ["two", "three"], "one", "the weights of 'one' are computed")
        for kind in COMPUTED
    },
    "reader's weight norm": (lambda: computed("weight norm", "two"), ["three"], "one", "the weights of 'two' are"),
}


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`")
@pytest.mark.parametrize(("make", "removable", "layer", "reason"), KINDS.values(), ids=KINDS)
def test_what_is_listed_can_be_removed_and_the_rest_has_a_reason(make, removable, layer, reason):
    torch.manual_seed(0)
    model, x = make().eval(), images(3)
    names, why = listed(model, x)
    assert names == removable
    for name in names:
        small = remove_units(model, {name: [1, 3]}, x)
        expected = mask_units(model, {name: [1, 3]}, x)
        torch.testing.assert_close(small(x), expected, atol=1e-5, rtol=1e-5)
        assert LayerGame(model, name, x, labels(3)).full.shape == (3,)
    if layer:
        assert reason in why[layer]
        with pytest.raises(ShapPruneError, match=r"removed|without"):
            remove_units(model, {layer: [0]}, x)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`")
@pytest.mark.parametrize("kind", COMPUTED)
def test_layers_with_computed_weights_can_be_scored(kind):
    model, x = computed(kind, "one", "two"), images(4)
    for layer in ("one", "two"):
        game = LayerGame(model, layer, x, labels(4))
        kept = torch.tensor([[unit != 2 for unit in range(game.units)]] * 4)
        expected = -F.cross_entropy(mask_units(model, {layer: [2]}, x), labels(4), reduction="none")
        torch.testing.assert_close(game.value(kept)[0], expected, atol=1e-5, rtol=1e-5)
        assert score(game, "weight-norm").values.shape == score(game, "fpgm").values.shape == (1, game.units)
        if "bias" not in kind:
            with pytest.raises(ShapPruneError, match="computed from others"):
                score(game, "snip")


def test_black_images_hide_nothing():
    model = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Unflatten(1, (36, 4)))
    model.extend([nn.Flatten(), nn.Linear(144, 3)])
    layers, why = listed(model, torch.zeros(2, 1, 8, 8))
    assert (layers, list(why)) == ([], ["0"])


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("frozen", ["none", "one", "all"])
def test_frozen_parameters_and_contexts_without_gradients(context, frozen):
    model, x = randomise(ConvNetwork()).eval(), images(3)
    some = {"none": [], "one": list(model.features[0].parameters()), "all": list(model.parameters())}[frozen]
    for parameter in some:
        parameter.requires_grad_(False)
    flags = [parameter.requires_grad for parameter in model.parameters()]
    with context():
        assert len(prunable_layers(model, x)) == 3
        small = remove_units(model, {"features.0": [1], "fc": [2, 3]}, x)
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert [parameter.requires_grad for parameter in small.parameters()] == flags
    with torch.no_grad():
        expected = mask_units(model, {"features.0": [1], "fc": [2, 3]}, x)
        torch.testing.assert_close(small(x), expected, atol=1e-5, rtol=1e-5)
    if frozen != "all":
        small(x).sum().backward()  # nothing of it is left in inference mode


class Backbone(Net):
    """Part of its forward wants no gradients, and it keeps what it has seen."""

    def __init__(self):
        super().__init__()
        self.seen, self.last, self.passes = [], None, 0
        self.register_buffer("mean", torch.zeros(1))

    def between(self, x):
        self.last, self.passes = x, self.passes + 1
        self.seen.append(x + torch.ones(1))
        self.mean = x.mean((0, 2, 3))
        return x

    def forward(self, x):
        with torch.no_grad():
            x = self.between(torch.relu(self.one(x)))
        return self.head(torch.relu(self.two(x)))


def test_parts_without_gradients_and_attributes_that_forward_sets():
    model, x = Backbone().eval(), images(3)
    names, _ = listed(model, x)
    assert names == ["one", "two", "three"]
    score(LayerGame(model, "one", x, labels(3)), "taylor")
    small = remove_units(model, {"one": [0]}, x)
    for each in (model, small):
        assert (each.seen, each.last, each.passes, each.mean.tolist()) == ([], None, 0, [0.0])
    model(x.requires_grad_())  # now its attributes have a history
    small = remove_units(model, {"two": [0]}, x)
    assert torch.equal(small.last, model.last)


class Heads(Net):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.other = kind, nn.Linear(7, 2)

    def head(self, x):
        x = torch.relu(self.three(torch.flatten(F.max_pool2d(x, 2), 1)))
        return self.kind([self.out(x), self.other(x)])


@pytest.mark.parametrize("kind", [tuple, list, lambda pair: {"classes": pair[0], "rest": [pair[1], None]}])
def test_outputs_of_several_tensors_are_compared_one_by_one(kind):
    model, x = Heads(kind).eval(), images(3)
    names, why = listed(model, x)
    assert names == ["one", "two", "three"]
    assert not why  # output layers are not listed
    small = remove_units(model, {"three": [0, 6]}, x)
    assert (small.out.in_features, small.other.in_features) == (5, 5)


class Random(Net):
    def between(self, x):
        return F.dropout(x, 0.5)


@pytest.mark.parametrize(
    ("model", "x", "reason"),
    [
        (Random(), images(3), "other numbers each time"),
        (Net(), torch.full((2, 1, 8, 8), torch.nan), "puts out nan"),
        (torch.jit.trace(Net(), images(2)), images(2), "from which torch.jit made it"),
        (torch.compile(Net()), images(2), "from which torch.compile made it, its _orig_mod"),
        (nn.DataParallel(Net()), images(2), "inside it, its module"),
    ],
    ids=["dropout", "nan", "jit", "compiled", "parallel"],
)
def test_what_cannot_be_compared_is_said(model, x, reason):
    with pytest.raises(ShapPruneError, match=reason):
        remove_units(model, {"one": [0]}, x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_numbers(dtype):
    model, x = Net().eval().to(dtype), images(3).to(dtype)
    small = remove_units(model, {"one": [0], "two": [3]}, x)
    assert small(x).dtype == dtype


def test_autocast_around_the_call_changes_nothing():
    model, x = randomise(ConvNetwork()).eval(), images(3)
    with torch.autocast("cpu", torch.bfloat16):
        small = remove_units(model, {"fc": [0]}, x)
        assert len(prunable_layers(model, x)) == 3
    assert small.fc.out_features == 7


class Auxiliary(Net):
    """A classifier beside the last convolution, and one of fixed size beside the first, that only training uses."""

    def __init__(self, fixed=False):
        super().__init__()
        self.fixed = fixed
        self.early, self.late = nn.Linear(6 * 36, 3), nn.Linear(5, 3)

    def forward(self, x):
        one = torch.relu(self.one(x))
        two = torch.relu(self.two(one))
        if not self.training:
            return self.head(two)
        aside = self.late(F.dropout(two.mean((2, 3)), training=self.training))
        return (self.head(two), aside, self.early(one.view(-1, 216))) if self.fixed else (self.head(two), aside)


@pytest.mark.parametrize("training", [False, True])
def test_heads_that_only_training_uses_lose_what_they_read(training):
    model, x = Auxiliary().train(training), images(3)
    names, why = listed(model, x)
    assert names == ["one", "two", "three"]
    assert why == {"early": "layer 'early' does not run in eval mode", "late": "layer 'late' does not run in eval mode"}
    small = remove_units(model, {"two": [1, 2], "one": [0]}, x)
    assert (small.late.in_features, small.training) == (3, training)
    assert [each.shape for each in small.train()(x)] == [(3, 3), (3, 3)]
    score(LayerGame(model, "two", x, labels(3)), "reconstruction")


def test_heads_that_cannot_do_without_are_named():
    names, why = listed(Auxiliary(fixed=True), images(3))
    assert names == ["two", "three"]
    assert why["one"] == "a head that Auxiliary uses in training only reads units of one, and cannot do without"


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("criterion", ["taylor", "fisher", "snip", "coalition-gradient"])
def test_scores_where_gradients_are_off(context, criterion):
    model = randomise(ConvNetwork()).eval()
    expected = score(LayerGame(model, "features.4", images(4), labels(4)), criterion, seed=0).values
    model.requires_grad_(False)
    with context():
        found = score(LayerGame(model, "features.4", images(4), labels(4)), criterion, seed=0).values
        assert not torch.is_grad_enabled()
    assert torch.equal(found, expected)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_budget_where_gradients_are_off(context):
    model = randomise(ConvNetwork()).eval().requires_grad_(False)
    with context():
        result = prune(model, images(8), macs=0.7, steps=2)
    assert result.kept
    assert not any(parameter.requires_grad for parameter in result.model.parameters())
