"""Hessians of calibration inputs, their correction and their damping, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError
from shapprune.parameters import hessians as module
from shapprune.parameters.hessians import corrected_hessian, hessians_in_turn, input_hessians, inverse_root
from shapprune.parameters.quantisers import gptq, round_to_nearest
from tests.toys import images
from tests.unit.parameters.cases import LAYERS, drawn, network


def test_hessians_are_those_of_all_inputs_of_a_layer(monkeypatch):
    model, x = network(), images(7)
    found = input_hessians(model, x, LAYERS, batch=3)
    with torch.no_grad():
        patches = nn.functional.unfold(x, 3, padding=1).mT.flatten(0, 1).double()
        entering = model.features(x).flatten(1).double()
    torch.testing.assert_close(found["features.0"], 2 * patches.T @ patches / len(patches))
    torch.testing.assert_close(found["fc"], 2 * entering.T @ entering / 7)
    assert {name: len(each) for name, each in found.items()} == dict(zip(LAYERS, [9, 36, 24, 8], strict=True))
    monkeypatch.setattr(module, "_NUMBERS", 600)  # now three passes are needed
    again = input_hessians(model, x, LAYERS, batch=50)
    for name, each in found.items():
        torch.testing.assert_close(again[name], each)
    assert not model.fc._forward_pre_hooks


def test_inputs_that_are_given_by_name_or_twice_count():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 2, bias=False)

        def forward(self, x):
            return self.fc(input=x) + self.fc(2 * x)

    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    rows = torch.cat([x, 2 * x]).double()
    torch.testing.assert_close(input_hessians(Twice(), x, ["fc"])["fc"], 2 * rows.T @ rows / 10)


class Parallel(nn.Module):
    """Two layers that read the same, then one that runs twice, then one that is not asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.twice, self.last = (nn.Linear(2, 2, bias=False) for _ in range(4))
        self.lasts = 0

    def forward(self, x):
        between = self.one(x) + self.other(x)
        between = self.twice(between) + self.twice(2 * between)
        self.lasts += 1
        return self.last(between)


def test_hessians_in_turn_are_those_of_the_network_as_it_is_by_then():
    model, x = Parallel(), torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    turns = hessians_in_turn(model, x, ["twice", "other", "one"], batch=3)
    found = next(turns)
    assert list(found) == ["one", "other"]
    torch.testing.assert_close(found["one"], 2 * x.double().T @ x.double() / 6)
    assert torch.equal(found["one"], found["other"])
    assert model.lasts == 1  # the pass that finds the order; others end where their layers have run
    with torch.no_grad():
        model.one.weight.copy_(torch.eye(2))
        model.other.weight.zero_()
    rows = torch.cat([x, 2 * x]).double()
    torch.testing.assert_close(next(turns)["twice"], 2 * rows.T @ rows / 12)
    assert next(turns, None) is None
    assert not model.one._forward_pre_hooks
    assert model.training


def test_what_is_not_positive_definite_is_damped_and_says_how_much():
    weight, hessian = drawn()
    root, damping = inverse_root(hessian, 0.01)
    damped = hessian.double() + 0.01 * hessian.diagonal().double().mean() * torch.eye(40)
    torch.testing.assert_close(root.T @ root, damped.inverse())
    assert torch.equal(root, root.triu())
    assert damping == 0.01
    indefinite = hessian - 0.5 * torch.diag(hessian.diagonal())
    found = gptq(weight, indefinite, damping=0.01)
    lowest = float(torch.linalg.eigvalsh(indefinite.double())[0])
    assert lowest < 0
    assert found.damping == pytest.approx(0.01 - lowest / float(indefinite.diagonal().mean()))
    assert found.codes.abs().max() == 7
    singular = torch.zeros(40, 40)
    assert torch.equal(gptq(weight, singular).codes, round_to_nearest(weight, 4).codes)
    assert gptq(weight, singular, damping=0.0).damping > 0


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_corrected_diagonal_by_hand(beta):
    weight, hessian = drawn(3, 5)
    H, W = hessian.double(), weight.double()
    factors = []
    for j in range(5):
        whole = sum(float(W[r, j] * sum(H[j, k] * W[r, k] for k in range(5))) for r in range(3))
        own = sum(float(W[r, j] ** 2 * H[j, j]) for r in range(3))
        factors.append(beta * abs(whole) / (abs(own) + 1e-6) + 1 - beta)
    expected = H.diagonal() * torch.tensor(factors)
    alone, kept = (corrected_hessian(hessian, weight, beta, diagonal=each) for each in (True, False))
    torch.testing.assert_close(alone, torch.diag(expected))
    torch.testing.assert_close(kept.diagonal(), expected)
    off = ~torch.eye(5, dtype=torch.bool)
    assert torch.equal(kept[off], H[off])
    if beta == 0:
        torch.testing.assert_close(kept, H)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: input_hessians(network(), images(3), ["features.1"]), "'features.1' is a BatchNorm2d"),
        (lambda: input_hessians(network(), images(0), ["fc"]), "calibrated with 0 examples"),
        (lambda: inverse_root(torch.eye(3), -1), "its damping, -1, at least 0"),
        (lambda: inverse_root(torch.eye(3) * torch.inf, 0), "a Hessian must be finite"),
        (lambda: corrected_hessian(torch.eye(3), torch.ones(2, 3), 1.5, diagonal=True), "beta 1.5 is not between 0"),
    ],
)
def test_what_has_no_hessian_is_refused(call, message):
    with pytest.raises(ShapPruneError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
