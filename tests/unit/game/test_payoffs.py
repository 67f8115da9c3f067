"""What a coalition is worth: loss, accuracy, margin, what the intact network says, and functions of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

import shapprune
from shapprune import LayerGame, ShapPruneError
from shapprune.game.payoffs import PAYOFFS, Answers, accuracy, check_payoff, margin, minus_loss
from shapprune.game.whole import WITHOUT_LABELS, agreement, minus_divergence
from shapprune.networks.builders import build
from shapprune.networks.losses import logits_of
from tests.toys import ConvNetwork, images, labels, randomise


def game(**options):
    return LayerGame(randomise(ConvNetwork()), "features.4", images(7), labels(7), **options)


def test_payoffs():
    ones = torch.ones(1, 6, dtype=torch.bool)
    outputs = game().model.eval()(images(7))
    y = labels(7)
    expected = {
        "loss": -nn.functional.cross_entropy(outputs, y, reduction="none"),
        "accuracy": (outputs.argmax(1) == y).float(),
        "margin": torch.stack(
            [row[t] - max(v for i, v in enumerate(row) if i != t) for row, t in zip(outputs, y, strict=True)]
        ),
    }
    for name, values in expected.items():
        torch.testing.assert_close(game(payoff=name).value(ones)[0], values)
    own = game(payoff=lambda outputs, labels: outputs[:, 0])
    torch.testing.assert_close(own.value(ones)[0], outputs[:, 0])
    loss, right = game(payoff="margin").loss_and_accuracy(ones)
    torch.testing.assert_close(loss[0], -expected["loss"])
    torch.testing.assert_close(right[0], expected["accuracy"])


def test_payoffs_that_compare_with_the_intact_network():
    some = torch.tensor([[True] * 6, [True, False, True, True, False, True], [False] * 6])
    for name in ("kl", "agreement"):
        with_labels, without = game(payoff=name), LayerGame(game().model, "features.4", images(7), payoff=name)
        values = without.value(some)
        assert torch.equal(with_labels.value(some), values)
        torch.testing.assert_close(values[0], torch.full((7,), float(name == "agreement")), atol=1e-5, rtol=0)
    outputs = [game(payoff=lambda out, labels, place=place: out[:, place]).value(some) for place in range(3)]
    outputs = torch.stack(outputs, 2)  # [C, N, classes]
    whole = outputs[0].log_softmax(1)
    for row, kl, same in zip(outputs, game(payoff="kl").value(some), game(payoff="agreement").value(some), strict=True):
        expected = -nn.functional.kl_div(row.log_softmax(1), whole, reduction="none", log_target=True).sum(1)
        torch.testing.assert_close(kl, expected, atol=1e-5, rtol=1e-4)
        assert torch.equal(same, (row.argmax(1) == whole.argmax(1)).float())


def test_payoffs_of_tokens_are_means_over_them():
    outputs, whole = torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    tokens = torch.stack([minus_divergence(outputs[:, t], whole[:, t]) for t in range(5)])
    torch.testing.assert_close(minus_divergence(outputs, whole), tokens.mean(0))
    torch.testing.assert_close(agreement(outputs, outputs + 1), torch.ones(2))


def test_walks_and_gradients_of_the_divergence():
    g = LayerGame(game().model, "features.4", images(7), payoff="kl")
    scores = shapprune.shapley.permutation(g, permutations=2)
    torch.testing.assert_close(scores.values.sum(1), (g.full - g.empty).double(), atol=1e-5, rtol=1e-5)
    assert g.gate_gradient(torch.ones(1, 6)).abs().max() < 1e-4  # the intact network is its own best
    assert g.gate_gradient(torch.full((1, 6), 0.5)).abs().max() > 1e-3
    for criterion in ("taylor", "snip", "fisher"):
        assert shapprune.score(g, criterion).values.isfinite().all()
    with pytest.raises(ShapPruneError, match="grasp is defined by the cross-entropy alone"):
        shapprune.score(g, "grasp")
    with pytest.raises(ShapPruneError, match="'agreement' has no gradient"):
        shapprune.score(game(payoff="agreement"), "taylor")


def test_what_needs_labels_says_so():
    for payoff in ("loss", "accuracy", "margin", lambda outputs, labels: outputs[:, 0]):
        with pytest.raises(ShapPruneError, match="needs labels; give them, or take payoff 'kl' or 'agreement'"):
            LayerGame(game().model, "features.4", images(7), payoff=payoff)
    without = LayerGame(game().model, "features.4", images(7), payoff="kl")
    with pytest.raises(ShapPruneError, match="payoff 'loss' needs labels"):
        without.loss_and_accuracy(torch.ones(1, 6, dtype=torch.bool))
    assert shapprune.oracle.coalition_table(without).shape == (64,)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16])
@pytest.mark.parametrize("payoff", ["loss", "accuracy", "margin"])
def test_labels_are_whole_numbers_of_any_type(payoff, dtype):
    coalitions = torch.ones(1, 6, dtype=torch.bool)
    of_this_type = LayerGame(randomise(ConvNetwork()), "features.4", images(7), labels(7).to(dtype), payoff=payoff)
    torch.testing.assert_close(of_this_type.value(coalitions), game(payoff=payoff).value(coalitions))


def test_labels_that_are_no_numbers_of_classes_are_refused():
    for wrong in (labels(7).float(), labels(7) > 0):
        with pytest.raises(ShapPruneError, match=r"whole-number labels \[N\], not \(2, 3\) and \(7,\) torch"):
            LayerGame(randomise(ConvNetwork()), "features.4", images(7), wrong)


# What a function of one's own does -> the sentence about it.
WRONG = {
    "mean of all": (lambda outputs, labels: outputs.mean(), r"\[N\], but for 3 it returns torch.float32 \(\)"),
    "mean, as often as examples": (lambda outputs, labels: outputs.mean().expand(len(outputs)), "by itself"),
    "centred": (lambda outputs, labels: (outputs - outputs.mean(0))[:, 0], "by itself"),
    "a number a class": (lambda outputs, labels: outputs.mean(0), r"for 1 it returns torch.float32 \(3,\)"),
    "a column": (lambda outputs, labels: outputs[:, :1], r"for 3 it returns torch.float32 \(3, 1\)"),
    "all outputs": (lambda outputs, labels: outputs, r"for 3 it returns torch.float32 \(3, 3\)"),
    "truth values": (lambda outputs, labels: outputs.argmax(1) == labels, r"for 3 it returns torch.bool \(3,\)"),
    "whole numbers": (lambda outputs, labels: outputs.argmax(1), r"for 3 it returns torch.int64 \(3,\)"),
    "no tensor": (lambda outputs, labels: outputs[:, 0].tolist(), "for 3 it returns list"),
    "one example at once": (
        lambda outputs, labels: outputs.view(3),
        r"<lambda> fails on the outputs of 3 images",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_functions_that_do_not_value_each_example_are_refused(what):
    function, message = WRONG[what]
    with pytest.raises(ShapPruneError, match=message):
        game(payoff=function)
    with pytest.raises(ShapPruneError, match=message):
        game().values_by(torch.ones(1, 6, dtype=torch.bool), [minus_loss, function])


def test_functions_without_a_gradient_are_refused_where_one_is_needed():
    def hits(outputs, labels):
        return (outputs.argmax(1) == labels).float()

    assert shapprune.score(game(payoff=hits), "permutation", permutations=1).values.shape == (7, 6)
    for criterion in ("taylor", "snip", "coalition-gradient"):
        with pytest.raises(ShapPruneError, match="payoff 'hits' has no gradient"):
            shapprune.score(game(payoff=hits), criterion)


@pytest.mark.parametrize("classes", [2, 10, 32, 33])
def test_the_loss_is_the_cross_entropy(classes):
    torch.manual_seed(0)
    outputs, y = 30 * torch.randn(50, classes, requires_grad=True), torch.arange(50) % classes
    found, expected = minus_loss(outputs, y), -nn.functional.cross_entropy(outputs, y, reduction="none")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(each.sum(), outputs)[0] for each in (found, expected)))


def test_a_sequence_is_worth_the_mean_over_its_labels_that_count():
    outputs = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([[0, 4, 2, 1], [-100, 3, -100, 0]])
    for payoff in (PAYOFFS[name] for name in PAYOFFS.keys() - WITHOUT_LABELS):
        single = payoff(outputs.flatten(0, 1), y.flatten().clamp(min=0)).view(2, 4)
        expected = torch.stack([single[0].mean(), single[1, [1, 3]].mean()])
        torch.testing.assert_close(payoff(outputs, y), expected)
        torch.testing.assert_close(payoff({"logits": outputs, "hidden": None}, y), expected)
        check_payoff(payoff, outputs, Answers(y, lambda: outputs))


def test_what_does_not_count_may_be_infinite():
    outputs = torch.tensor([[[1.0, 4.0], [torch.inf, 0.0]]])
    y = torch.tensor([[1, -100]])
    assert (accuracy(outputs, y).item(), margin(outputs, y).item()) == (1.0, 3.0)


@pytest.mark.parametrize(
    ("outputs", "y", "message"),
    [
        (torch.zeros(2, 4, 5), torch.zeros(2, dtype=torch.int64), r"labels \[N, T\] of sequences, .*not \(2, 4, 5\)"),
        (torch.zeros(2, 4, 5), torch.zeros(2, 3, dtype=torch.int64), r"not \(2, 4, 5\) and \(2, 3\)"),
        (torch.zeros(2, 5), torch.zeros(2, 5, dtype=torch.int64), r"not \(2, 5\) and \(2, 5\)"),
        (torch.zeros(2, 4, 5), torch.full((2, 4), 5), "label 5 is outside 0 ... 4, the network has 5 outputs"),
        (torch.zeros(2, 4, 5), torch.full((2, 4), -1), "label -1 is outside 0 ... 4"),
        (torch.zeros(2, 5), torch.tensor([0, -100]), "label -100 is outside 0 ... 4"),
        (torch.zeros(2, 4, 5), torch.full((2, 4), -100), "sequence 0 has no label that counts"),
        ({"scores": torch.zeros(2, 5)}, torch.tensor([0, 1]), r"the network returns a dict; give a payoff"),
    ],
)
def test_labels_that_are_not_of_the_positions_are_refused(outputs, y, message):
    with pytest.raises(ShapPruneError, match=message):
        check_payoff(minus_loss, outputs, Answers(y, lambda: outputs))


@dataclass
class Outputs:
    """As some libraries return them."""

    logits: Tensor
    hidden: Tensor


class Named(NamedTuple):
    logits: Tensor
    hidden: Tensor


class Several(nn.Module):
    """Linear, ReLU, linear; puts out both, in one of several forms."""

    def __init__(self, form=None):
        super().__init__()
        self.first, self.second, self.form = nn.Linear(4, 6), nn.Linear(6, 3), form

    def forward(self, x):
        hidden = torch.relu(self.first(x))
        return self.form(logits=self.second(hidden), hidden=hidden) if self.form else self.second(hidden)


@pytest.mark.parametrize("form", [dict, Outputs, Named])
def test_logits_among_other_outputs_are_what_payoffs_are_of(form):
    several, single = (randomise(Several(each)) for each in (form, None))
    games = [LayerGame(model, "first", images(5, (4,)), labels(5)) for model in (several, single)]
    for criterion in ("permutation", "taylor", "snip", "grasp"):
        found, expected = (shapprune.score(each, criterion).values for each in games)
        torch.testing.assert_close(found, expected)
    own = LayerGame(several, "first", images(5, (4,)), labels(5), payoff=lambda outputs, y: logits_of(outputs)[:, 0])
    torch.testing.assert_close(own.full, single(images(5, (4,)))[:, 0].detach(), check_dtype=False)


def test_images_that_change_others_are_found_in_a_dataclass():
    model = randomise(Several(lambda **outputs: Outputs(**{k: v - v.mean(0) for k, v in outputs.items()})))
    with pytest.raises(ShapPruneError, match="image"):
        LayerGame(model, "first", images(5, (4,)), labels(5))


def test_tokens_that_are_their_own_labels_are_refused_where_the_payoff_is_ours():
    model = randomise(build("char_gpt", (4,), 5, width=4, depth=1, heads=2, head_dim=2, hidden=3))
    tokens = labels(8, 5).view(2, 4)
    with pytest.raises(ShapPruneError, match="the labels are the tokens themselves"):
        LayerGame(model, "blocks.0.fc1", tokens, tokens)

    def ahead(outputs, y):
        return minus_loss(outputs[:, :-1], y[:, 1:])

    own = LayerGame(model, "blocks.0.fc1", tokens, tokens, payoff=ahead)
    torch.testing.assert_close(own.full, ahead(model(tokens), tokens).detach(), check_dtype=False)
