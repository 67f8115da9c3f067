"""LayerGame: cutting, masking, payoffs, and what it leaves behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import LayerGame, ShapPruneError
from shapprune.game.payoffs import minus_loss
from shapprune.networks.modes import mode
from tests.toys import ConvNetwork, MaxNetwork, ResidualNetwork, images, labels, randomise, squared_error


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
    piece = next(g._pieces(g._masked, 1))
    for unit in range(6):
        gates = kept.float()[None].expand(7, 1, 6).clone()
        step = 1e-3
        gates[..., unit] += step
        with torch.no_grad(), mode(g.model, training=False):
            up = g._valued(g._masked, piece, gates, g.payoff)[:, 0]
            gates[..., unit] -= 2 * step
            down = g._valued(g._masked, piece, gates, g.payoff)[:, 0]
        # float32 outputs of about 1 have errors of about 1e-7, over a step of 2e-3: 1e-3 is a safe tolerance
        torch.testing.assert_close(gradient[:, unit], (up - down) / (2 * step), atol=2e-3, rtol=2e-3)


def test_precision_is_set_for_the_rest_of_the_network_only():
    def settings():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.is_autocast_enabled("cpu")

    before, seen = settings(), []
    rough = game(precision="bf16")
    exact = game(precision="fp32")
    run = rough._masked.run
    rough._masked.run = lambda *given: (seen.append(torch.is_autocast_enabled("cpu")), run(*given))[1]
    some = torch.ones(2, rough.units, dtype=torch.bool)
    values = rough.value(some)
    assert seen
    assert all(seen)
    assert settings() == before
    assert values.dtype == torch.float32
    assert not torch.equal(values, exact.value(some))
    torch.testing.assert_close(values, exact.value(some), atol=0.05, rtol=0.05)
    with pytest.raises(ShapPruneError, match="unknown precision 'fp8'; allowed: bf16, fp32, tf32"):
        game(precision="fp8")


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


@pytest.mark.parametrize("classes", [2, 10, 32, 33])
def test_the_loss_is_the_cross_entropy(classes):
    torch.manual_seed(0)
    outputs, y = 30 * torch.randn(50, classes, requires_grad=True), torch.arange(50) % classes
    found, expected = minus_loss(outputs, y), -nn.functional.cross_entropy(outputs, y, reduction="none")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(each.sum(), outputs)[0] for each in (found, expected)))


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


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x + y


class DataDependent(ConvNetwork):
    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


class BatchDependent(ConvNetwork):
    def forward(self, x):
        count = x.shape[0]
        return self.output(torch.relu(self.fc(self.features(x).view(count, -1))))


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
        (lambda: LayerGame(BatchDependent(), "features.0", images(2), labels(2)), "depends on the size of the batch"),
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
