"""LayerGame: cutting, masking, payoffs, and what it leaves behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.max_network import MaxNetwork, squared_error
from shapprune import LayerGame, ShapPruneError
from shapprune.game.engine import Entry
from shapprune.networks.modes import mode
from tests.toys import ConvNetwork, ResidualNetwork, images, labels, randomise


def game(model=None, layer="features.4", count=7, **options):
    model = randomise(model or ConvNetwork())
    return LayerGame(model, layer, images(count), labels(count), **options)


def test_value_equals_masking_by_hand():
    g = game()
    kept = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0]], dtype=torch.bool)
    model = g.model.eval()
    for row, mask in zip(g.value(kept), kept, strict=True):
        handle = model.features[6].register_forward_hook(lambda _m, _i, out, mask=mask: out * mask[None, :, None, None])
        expected = -nn.functional.cross_entropy(model(g.images), g.labels, reduction="none")
        handle.remove()
        torch.testing.assert_close(row, expected)


@pytest.mark.parametrize("layer", ["stem", "conv1", "conv2"])
@pytest.mark.parametrize("site", ["output", "norm", "activation"])
def test_residual_network_is_cut_anywhere(layer, site):
    g = game(ResidualNetwork(), layer, site=site)
    whole = -nn.functional.cross_entropy(g.model.eval()(g.images), g.labels, reduction="none")
    torch.testing.assert_close(g.full, whole)
    assert g.value(torch.zeros(2, g.units, dtype=torch.bool)).shape == (2, 7)


def test_sites_differ_by_what_the_norm_adds():
    sites = {site: game(site=site).empty for site in ("output", "norm", "activation")}
    assert not torch.allclose(sites["output"], sites["activation"])  # the shift of BatchNorm stays alive
    torch.testing.assert_close(sites["norm"], sites["activation"])  # relu(0) = 0


def test_coalitions_of_each_examples_own():
    g = game()
    own = torch.rand(3, 7, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    values = g.value(own)
    for c in range(3):
        for e in range(7):
            torch.testing.assert_close(values[c, e], g.value(own[c, e][None])[0, e], atol=1e-5, rtol=1e-5)


def test_memory_limit_changes_nothing():
    kept = torch.rand(9, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    wide, narrow = game(), game(memory_mb=0)  # a row at a time
    torch.testing.assert_close(wide.value(kept), narrow.value(kept), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(wide.gate_gradient(kept), narrow.gate_gradient(kept), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(wide.activation_gradient(), narrow.activation_gradient(), atol=1e-5, rtol=1e-5)


def test_gate_gradient_equals_finite_differences():
    g = game(payoff="margin")
    kept = torch.tensor([[1, 0, 1, 1, 0, 1]], dtype=torch.bool)
    gradient = g.gate_gradient(kept)[0]
    gates = kept[0].float()
    # Behind the pooling, where a gate may be negative too.
    g.model.features[7].register_forward_hook(lambda _module, _inputs, out: out * gates[None, :, None, None])

    def value(unit, change):
        before = gates[unit].clone()
        gates[unit] += change
        with torch.no_grad(), mode(g.model, training=False):
            found = g.payoff(g.model(g.images), g.labels)
        gates[unit] = before
        return found

    for unit in range(6):
        step = 1e-3
        up, down = value(unit, step), value(unit, -step)
        # float32 outputs of about 1 have errors of about 1e-7, over a step of 2e-3: 1e-3 is a safe tolerance
        torch.testing.assert_close(gradient[:, unit], (up - down) / (2 * step), atol=2e-3, rtol=2e-3)


def test_precision_is_set_for_the_rest_of_the_network_only(monkeypatch):
    def settings():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.is_autocast_enabled("cpu")

    before, seen = settings(), []
    rough = game(precision="bf16")
    exact = game(precision="fp32")
    run = Entry.run
    monkeypatch.setattr(Entry, "run", lambda *given: (seen.append(torch.is_autocast_enabled("cpu")), run(*given))[1])
    some = torch.ones(2, rough.units, dtype=torch.bool)
    values = rough.value(some)
    monkeypatch.undo()
    assert seen
    assert all(seen)
    assert settings() == before
    assert values.dtype == torch.float32
    assert not torch.equal(values, exact.value(some))
    torch.testing.assert_close(values, exact.value(some), atol=0.05, rtol=0.05)
    with pytest.raises(ShapPruneError, match="unknown precision 'fp8'; allowed: bf16, fp32, tf32"):
        game(precision="fp8")


def test_model_is_handed_back_as_it_came():
    model = randomise(ConvNetwork()).train()
    model.features[1].eval()
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    g = LayerGame(model, "features.0", images(5), labels(5))
    g.gate_gradient(torch.ones(1, 4, dtype=torch.bool))
    g.activation_gradient()
    g.walk(torch.arange(4).expand(1, 5, 4))
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_evaluations_are_counted():
    g = game()
    g.value(torch.ones(5, 6, dtype=torch.bool))
    assert g.evaluations == 5
    g.gate_gradient(torch.ones(2, 6, dtype=torch.bool))
    assert g.evaluations == 11
    _ = g.full, g.full, g.empty
    assert g.evaluations == 13


def test_units_that_are_gone_are_null_players_and_count_in_the_same_game():
    g = game()
    kept = torch.rand(5, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    _ = g.full, g.active_units, g.activations
    left = g.without([1]).without([4, 1])
    without = kept.clone()
    without[:, [1, 4]] = False
    torch.testing.assert_close(left.value(kept), g.value(without))
    assert not torch.equal(left.full, g.full)
    assert not left.active_units[:, [1, 4]].any()
    assert not left.activations[:, [1, 4]].any()
    assert torch.equal(left.activations[:, 0], g.activations[:, 0])
    assert left.evaluations == g.evaluations == 1 + 5 + 5 + 1
    assert torch.equal(left.fresh().full, left.full)


def test_a_fresh_game_counts_anew_and_does_not_run_the_part_before_the_cut():
    g = game()
    some = torch.rand(5, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    value, gradient = g.value(some), g.activation_gradient()
    runs = []
    g.model.features[0].register_forward_hook(lambda *_: runs.append(1))
    again = g.fresh()
    assert again.evaluations == 0
    assert torch.equal(again.value(some), value)
    assert torch.equal(again.activation_gradient(), gradient)
    assert (again.evaluations, g.evaluations) == (8, 8)
    assert not runs


def test_long_draws_are_valued_one_by_one():
    short, wide = game(), game(ConvNetwork(hidden=8192), "fc", count=1)
    assert (short.at_once(8), wide.at_once(8)) == (8, 1)


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x + y


class DataDependent(ConvNetwork):
    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


class BatchDependent(ConvNetwork):
    def forward(self, x):
        x = self.features(x).flatten(1)
        return self.output(torch.relu(self.fc(x - x.mean(0))))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.output = nn.Linear(4, 3)

    def forward(self, x):
        return self.output(self.fc(self.fc(x)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LayerGame(TwoInputs(), "x", images(2), labels(2)), "takes 2 inputs"),
        (lambda: LayerGame(DataDependent(), "fc", images(2), labels(2)), "torch.fx cannot trace DataDependent"),
        (lambda: LayerGame(BatchDependent(), "features.0", images(2), labels(2)), "depends on the others in its batch"),
        (lambda: LayerGame(Twice(), "fc", images(2, (4,)), labels(2)), "used 2 times"),
        (lambda: game(layer="features.5"), "unknown layer 'features.5'; did you mean"),
        (lambda: game(site="after"), "unknown site 'after'"),
        (lambda: game(payoff="loose"), "unknown payoff 'loose'; did you mean 'loss'"),
        (lambda: LayerGame(ConvNetwork(), "fc", images(3), labels(2)), "3 scoring images and 2 labels"),
        (lambda: LayerGame(ConvNetwork(), "fc", images(0), labels(0)), "0 scoring images"),
        (lambda: LayerGame(ConvNetwork(), "fc", images(2), torch.tensor([0, 3])), "label 3 is outside 0 ... 2"),
        (lambda: LayerGame(ConvNetwork(), "fc", images(2), torch.tensor([0.0, 1.0])), "whole-number labels"),
        (lambda: LayerGame(ConvNetwork(), "fc", images(2, (1, 9)), labels(2)), "the network fails on images of shape"),
        (lambda: game().value(torch.ones(1, 5, dtype=torch.bool)), "coalitions have shape"),
        (lambda: game().value(torch.ones(1, 6)), "bool is needed"),
        (lambda: game(payoff="accuracy").gate_gradient(torch.ones(1, 6, dtype=torch.bool)), "has no gradient"),
        (lambda: game(payoff="accuracy").activation_gradient(), "has no gradient"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(make, message):
    with pytest.raises(ShapPruneError) as error:
        make()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_batch_size_taken_inside_the_part_after_is_fine():
    assert game(layer="features.0").full.shape == (7,)  # ConvNetwork.forward reads x.size(0) after the layers


def test_max_network_works_with_own_payoff_and_float_labels():
    x = torch.tensor([[0.0, 1.0], [3.0, 2.0]])
    g = LayerGame(MaxNetwork(), "hidden", x, x.amax(1), payoff=squared_error)
    torch.testing.assert_close(g.full, torch.zeros(2))
    torch.testing.assert_close(g.empty, torch.tensor([-1.0, -9.0]))
