"""Scores of parameters: Shapley values of quadratic losses by enumeration, and all that decides them."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError, shapley
from shapprune.networks.builders import build
from shapprune.parameters import scoring as module
from shapprune.parameters.expansion import Expansion
from shapprune.parameters.pooling import Pooling, row_parts
from shapprune.parameters.scores import score_parameters
from tests.toys import Follows, HandGame, sequences
from tests.unit.parameters.cases import Quadratic, examples, flat, minus_output, small_network


def quadratic_game(model, x, players):
    """Coalitions of parameters: minus the mean loss with all others at zero; players are masks [n, M]."""
    theta = flat(dict(model.named_parameters())).detach()

    def worth(masks):
        at = theta * (masks @ players.double()).clamp(max=1)
        return -(torch.einsum("cem,mk,cek->ce", at, model.A, at) / 2 + at @ x.mean(0))

    return HandGame(len(players), worth)


@pytest.mark.parametrize(("rows", "columns"), [(2, 1), (2, 2), (2, 3)])
def test_corrected_scores_are_shapley_values_where_the_loss_is_quadratic(rows, columns):
    model = Quadratic(rows, columns)
    size = rows * (columns + 1)
    x = torch.randn(3, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    game = quadratic_game(model, x, torch.eye(size))
    truth = shapley.exact(game).aggregate("mean")
    scores = score_parameters(model, x, torch.zeros(3), payoff=minus_output)
    torch.testing.assert_close(flat(scores.both), truth)
    # Efficiency: they sum to what all parameters together are worth.
    torch.testing.assert_close(flat(scores.both).sum(), (game.full - game.empty)[0].double())
    for name, first in scores.first.items():
        torch.testing.assert_close(scores.both[name], first + scores.second[name])
    paper = score_parameters(model, x, torch.zeros(3), Expansion(sign="paper"), payoff=minus_output)
    for name, second in scores.second.items():
        torch.testing.assert_close(paper.second[name], -second)
        torch.testing.assert_close(paper.both[name], scores.first[name] - second)
    assert (flat(paper.both) - truth).abs().max() > 0.1


def test_the_papers_sign_is_right_with_derivatives_at_the_origin():
    model = Quadratic(2, 3)
    x = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theta = flat(dict(model.named_parameters())).detach()
    truth = shapley.exact(quadratic_game(model, x, torch.eye(8))).aggregate("mean")
    at_origin = -x.mean(0) * theta - theta * (model.A @ theta) / 2
    torch.testing.assert_close(at_origin, truth)


def test_sums_over_units_are_the_values_of_units_as_players():
    model = Quadratic(2, 3)
    x = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([[1, 1, 1, 0, 0, 0, 1, 0], [0, 0, 0, 1, 1, 1, 0, 1]])
    truth = shapley.exact(quadratic_game(model, x, rows)).aggregate("mean")
    pooling = Pooling(row_parts(model, "fc.weight"))
    scores = score_parameters(model, x, torch.zeros(3), payoff=minus_output, pooling=pooling)
    torch.testing.assert_close(scores.both["units"], truth)
    torch.testing.assert_close(pooling(score_parameters(model, x, torch.zeros(3), payoff=minus_output).both), truth)


@pytest.mark.parametrize("options", [{"hessian": "exact"}, {"hessian": "fisher", "block": "row"}, {"hessian": "none"}])
def test_means_do_not_depend_on_the_size_of_batches(options):
    model, (inputs, labels) = small_network(), examples(7)
    found = [score_parameters(model, inputs, labels, Expansion(batch=size, **options)) for size in (1, 2, 3, 50)]
    for one, other in itertools.pairwise(found):
        assert one.examples == 7
        for name, each in one.both.items():
            torch.testing.assert_close(each, other.both[name])
    # That of batches is another one for other batches.
    batches = [score_parameters(model, inputs, labels, Expansion("batch", batch=size)).both for size in (2, 50)]
    assert not torch.allclose(flat(batches[0]), flat(batches[1]))


def test_absolute_values_and_weights_of_batches_by_hand():
    model, (inputs, labels) = small_network(), examples(6)
    parts = [score_parameters(model, inputs[some], labels[some]) for some in (slice(0, 4), slice(4, 6))]

    def score(**options):
        return score_parameters(model, inputs, labels, Expansion(batch=4, **options))

    plain, of_batches, of_sum = score(), score(absolute="batch"), score(absolute="sum")
    early, late = 0.25 * 0.75, 0.25
    raw, corrected = score(alpha=0.25, unbiased=False), score(alpha=0.25)
    for term in ("first", "second", "both"):
        one, two = (flat(getattr(each, term)) for each in parts)
        torch.testing.assert_close(flat(getattr(plain, term)), (4 * one + 2 * two) / 6)
        torch.testing.assert_close(flat(getattr(of_batches, term)), (4 * one.abs() + 2 * two.abs()) / 6)
        torch.testing.assert_close(flat(getattr(of_sum, term)), ((4 * one + 2 * two) / 6).abs())
        torch.testing.assert_close(flat(getattr(raw, term)), early * one + late * two)
        torch.testing.assert_close(flat(getattr(corrected, term)), (early * one + late * two) / (early + late))


def test_absolute_values_are_those_of_units_where_scores_are_pooled():
    model, (inputs, labels) = small_network(), examples(6)
    pooling = Pooling(row_parts(model, "0.weight"))
    parts = [score_parameters(model, inputs[some], labels[some]).both for some in (slice(0, 3), slice(3, 6))]
    expansion = Expansion(absolute="batch", batch=3)
    found = score_parameters(model, inputs, labels, expansion, names=parts[0], pooling=pooling).both["units"]
    torch.testing.assert_close(found, sum(pooling(each).abs() for each in parts) / 2)


def test_a_shared_parameter_counts_once():
    tied, apart = (nn.Sequential(nn.Embedding(5, 5), nn.Linear(5, 5, bias=False)).double() for _ in range(2))
    tied[1].weight = tied[0].weight
    apart.load_state_dict(tied.state_dict())
    tokens, following = sequences(4)
    found = score_parameters(tied, tokens, following, Expansion("none"))
    assert found.tied == {"1.weight": "0.weight"}
    assert list(found.both) == ["0.weight"]
    both = score_parameters(apart, tokens, following, Expansion("none")).both
    torch.testing.assert_close(found.both["0.weight"], both["0.weight"] + both["1.weight"])
    by_other_name = score_parameters(tied, tokens, following, Expansion("none"), names=["1.weight", "0.weight"])
    assert list(by_other_name.both) == ["0.weight"]


def test_frozen_parameters_are_scored_as_others():
    model, (inputs, labels) = small_network(), examples()
    expected = score_parameters(model, inputs, labels).both
    model.requires_grad_(False)
    found = score_parameters(model, inputs, labels).both
    assert all(torch.equal(each, expected[name]) for name, each in found.items())
    assert not any(each.requires_grad for each in model.parameters())


def test_a_parameter_that_no_gradient_reaches_is_worth_nothing_and_named():
    model = small_network()
    model.unused = nn.Linear(2, 2).double()
    forward = nn.Sequential(*list(model.children())[:3])
    model.forward = forward.forward
    for hessian in ("exact", "fisher"):
        found = score_parameters(model, *examples(), Expansion(hessian))
        assert found.unreached == ("unused.weight", "unused.bias")
        assert not found.both["unused.weight"].any()
        assert found.both["0.weight"].any()


def test_several_outputs_and_sequences():
    tokens, following = sequences(4)
    model = Follows()
    found = score_parameters(model, tokens, following)
    loss = nn.functional.cross_entropy(model.table(tokens).flatten(0, 1), following.flatten())
    (slope,) = torch.autograd.grad(loss, model.table.weight)
    torch.testing.assert_close(found.first["table.weight"], -slope * model.table.weight.detach())
    one = score_parameters(model, tokens[:1], following[:1])  # a calibration set of one sequence
    assert one.both["table.weight"].any()


def test_kl_needs_no_labels_and_has_no_first_order():
    model, (inputs, _) = small_network(), examples()
    found = score_parameters(model, inputs, payoff="kl")
    # At the intact network the divergence is least: its gradient is zero, and its Hessian is positive.
    assert flat(found.first).abs().max() < 1e-12
    assert flat(found.second).sum() > 0.01


@pytest.mark.parametrize(
    ("architecture", "shape", "options"),
    [
        ("vit", (3, 8, 8), {"patch": 4, "width": 8, "depth": 1, "heads": 2, "head_dim": 4, "hidden": 6}),
        ("char_gpt", (6,), {"width": 8, "depth": 1, "heads": 2, "head_dim": 4, "hidden": 6}),
    ],
)
def test_products_go_through_fused_attention(architecture, shape, options):
    torch.manual_seed(0)
    model = build(architecture, shape, 5, **options)
    inputs, labels = (torch.rand(4, *shape), torch.arange(4)) if len(shape) > 1 else sequences(4)
    found = score_parameters(model, inputs, labels, Expansion(block="layer"))
    assert not found.unreached
    assert all(each.isfinite().all() for each in found.second.values())
    assert found.evaluations == 3 + 6 * len({name.rpartition(".")[0] for name in found.second})


def test_the_network_is_handed_back_as_it_came():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3)).double()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    model[3].weight.grad = torch.ones_like(model[3].weight)
    before, modes = copy.deepcopy(model.state_dict()), [each.training for each in model.modules()]
    random = torch.get_rng_state()
    with torch.inference_mode():
        found = [score_parameters(model, *examples(), Expansion(hessian)).both for hessian in ("exact", "fisher") * 2]
    assert all(torch.equal(flat(one), flat(other)) for one, other in (found[::2], found[1::2]))
    assert torch.equal(torch.get_rng_state(), random)
    assert [each.training for each in model.modules()] == modes
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert [each.requires_grad for each in model.parameters()] == [False, *[True] * 5]
    assert [name for name, each in model.named_parameters() if each.grad is not None] == ["3.weight"]
    assert torch.equal(model[3].weight.grad, torch.ones_like(model[3].weight))


@pytest.mark.parametrize("expansion", [Expansion(batch=2), Expansion(batch=2, alpha=0.5, absolute="batch")])
def test_a_scoring_goes_on_where_it_was_cut_off(expansion, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "INTERVAL", 0)
    model, (inputs, labels), path = small_network(), examples(8), tmp_path / "scores.pt"
    whole = score_parameters(model, inputs, labels, expansion)
    calls, of = [], module.Curvature.of

    def cut_off(self, *given):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return of(self, *given)

    monkeypatch.setattr(module.Curvature, "of", cut_off)
    with pytest.raises(KeyboardInterrupt):
        score_parameters(model, inputs, labels, expansion, checkpoint=path)
    found = score_parameters(model, inputs, labels, expansion, checkpoint=path)
    assert len(calls) == 3 + 2  # the last two of four batches
    for term in ("first", "second", "both"):
        assert torch.equal(flat(getattr(found, term)), flat(getattr(whole, term)))
    assert found.unreached == ()
    assert found.seconds > 0
    others = (labels.flip(0), expansion), (labels, Expansion(batch=4))
    for given, options in others:  # another scoring does not go on from it
        before = len(calls)
        score_parameters(model, inputs, given, options, checkpoint=path)
        assert len(calls) - before == -(-8 // options.batch)


def of_bad_input(**options):
    return lambda: score_parameters(small_network(), *examples(), Expansion(**options))


def of_other_units():
    model = small_network()
    pooling = Pooling(row_parts(model, "2.weight"))
    return score_parameters(model, *examples(), names=["0.weight"], pooling=pooling)


def of_integers():
    model = small_network()
    model.codes = nn.Parameter(torch.zeros(3, dtype=torch.int8), requires_grad=False)
    return score_parameters(model, *examples(), names=["codes"])


def of_zeros():
    model = small_network()
    with torch.no_grad():
        model[2].weight.fill_(torch.finfo(torch.float64).max)
    return score_parameters(model, *examples())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (of_bad_input(alpha=0.0), "alpha 0.0 is not strictly between 0 and 1"),
        (of_bad_input(alpha=1.5), "alpha 1.5 is not strictly between 0 and 1"),
        (of_bad_input(sign="minus"), "unknown sign 'minus'"),
        (of_bad_input(hessian="newton"), "unknown Hessian 'newton'"),
        (of_bad_input(block="column"), "unknown block 'column'"),
        (of_bad_input(absolute="yes"), "unknown absolute 'yes'"),
        (of_bad_input(batch=0), "a batch of 0 examples"),
        (of_bad_input(hessian="shipped", block="row"), "block 'row' does not fit; give 'matrix'"),
        (lambda: score_parameters(small_network(), *examples(0)), "on 0 examples, 1 or more are needed"),
        (lambda: score_parameters(small_network(), examples()[0]), "payoff 'loss' needs labels"),
        (lambda: score_parameters(small_network(), *examples(), payoff="accuracy"), "'accuracy' has no gradient"),
        (lambda: score_parameters(small_network(), examples()[0] * torch.nan, examples()[1]), "example 0 has numbers"),
        (lambda: score_parameters(small_network(), *examples(), names=["0.wieght"]), "did you mean '0.weight'?"),
        (lambda: score_parameters(small_network(), *examples(), names=[]), "has no floating-point parameters"),
        (lambda: score_parameters(nn.ReLU(), *examples()), "ReLU has no floating-point parameters"),
        (of_other_units, "units have a part of '2.weight', which is not among"),
        (of_integers, "parameter 'codes' is torch.int8"),
        (of_zeros, "are not finite"),
    ],
)
def test_what_cannot_be_scored_is_refused(call, message):
    with pytest.raises(ShapPruneError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
