"""Quantisers against hand computation, and what Hessians make of them."""

from __future__ import annotations

import pytest
import torch

from shapprune import ShapPruneError
from shapprune.parameters.hessians import corrected_hessian, inverse_root
from shapprune.parameters.quantisers import gptq, round_to_nearest, scales_of


def drawn(rows=6, columns=40, seed=0):
    """A weight and the Hessian of inputs that go together."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator)
    inputs = torch.randn(200, columns, generator=generator) @ torch.randn(columns, columns, generator=generator)
    return weight, 2 * inputs.T @ inputs / 200


def error(weight, found, hessian):
    """tr((W - Q) H (W - Q)')."""
    off = (weight - found.weight()).double().flatten(1)
    return float((off @ hessian.double() @ off.T).trace())


@pytest.mark.parametrize(("bits", "largest"), [(4, 7), (8, 127)])
def test_nearest_codes_are_symmetric_and_off_by_half_a_step_at_most(bits, largest):
    weight, _ = drawn()
    found = round_to_nearest(weight, bits)
    assert found.codes.dtype == torch.int8
    assert found.codes.abs().amax(1).tolist() == [largest] * 6
    torch.testing.assert_close(found.scales, weight.abs().amax(1) / largest)
    assert ((weight - found.weight()).abs() <= found.scales[:, None] * 0.5001).all()
    assert found.bytes == 240 * bits // 8 + 24


def test_rows_of_zeros_and_odd_numbers_of_codes():
    found = round_to_nearest(torch.tensor([[0.0, 0.0, 0.0], [0.9, -2.0, 0.0]]), 4)
    assert found.weight().tolist() == [[0, 0, 0], [pytest.approx(6 / 7), -2, 0]]
    assert round_to_nearest(torch.ones(1, 3), 4).bytes == 2 + 4


def test_gptq_by_hand():
    """What the first column is off goes to the second, times H_01 / H_11; the third has nothing to do with them."""
    weight = torch.tensor([[0.66, 0.36, 0.7], [-1.34, 0.5, 1.4]])  # scales of .1 and .2
    hessian = torch.tensor([[4.0, 2.0, 0.0], [2.0, 3.0, 0.0], [0.0, 0.0, 1.0]])
    found = gptq(weight, hessian, 4, damping=0.0)
    # The first are off by .66 - .7 and -1.34 + 1.4, so the second become .36 - .04 * 2 / 3 and .5 + .06 * 2 / 3.
    assert found.codes.tolist() == [[7, 3, 7], [-7, 3, 7]]
    assert round_to_nearest(weight, 4).codes.tolist() == [[7, 4, 7], [-7, 2, 7]]
    assert found.damping == 0


@pytest.mark.parametrize("bits", [4, 8])
def test_any_positive_diagonal_gives_the_nearest_codes(bits):
    weight, hessian = drawn()
    nearest = round_to_nearest(weight, bits)
    diagonal = torch.diag(hessian.diagonal())
    corrected = [corrected_hessian(hessian, weight, beta, diagonal=True) for beta in (0.01, 0.1, 0.5, 0.9)]
    for each in (torch.eye(40), diagonal, torch.diag(torch.rand(40) + 0.01), *corrected):
        found = gptq(weight, each, bits)
        assert torch.equal(found.codes, nearest.codes)
        assert torch.equal(found.scales, nearest.scales)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("seed", range(5))
def test_the_whole_hessian_lowers_the_error_of_outputs(bits, seed):
    weight, hessian = drawn(seed=seed)
    off, off_rounded = (
        error(weight, each, hessian) for each in (gptq(weight, hessian, bits), round_to_nearest(weight, bits))
    )
    assert off < 0.8 * off_rounded


@pytest.mark.parametrize("block", [1, 7, 40, 128])
def test_blocks_change_no_code(block):
    weight, hessian = drawn()
    assert torch.equal(gptq(weight, hessian, block=block).codes, gptq(weight, hessian, block=13).codes)


def test_a_hessian_of_ones_spreads_what_is_left_over():
    """All inputs are the same, so only the sum of a row matters."""
    weight = torch.rand(5, 30, generator=torch.Generator().manual_seed(0)) + 0.1
    found = gptq(weight, torch.ones(30, 30), 4, damping=1e-6)
    assert ((weight - found.weight()).sum(1).abs() <= found.scales * 0.51).all()
    assert ((weight - round_to_nearest(weight, 4).weight()).sum(1).abs() > found.scales).any()


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
        (lambda: scales_of(torch.ones(1, 1), 3), "weights of 3 bits are not possible; allowed: 4, 8"),
        (lambda: round_to_nearest(torch.tensor([[torch.nan]])), "that is not finite"),
        (lambda: gptq(torch.ones(2, 3), torch.eye(2)), "does not fit a weight of 3 columns"),
        (lambda: gptq(torch.ones(2, 3), torch.eye(3), block=0), "a block of 0 columns"),
        (lambda: gptq(torch.ones(2, 3), torch.eye(3), damping=-1), "its damping, -1, at least 0"),
        (lambda: gptq(torch.ones(2, 3), torch.eye(3) * torch.inf), "a Hessian must be finite"),
        (lambda: corrected_hessian(torch.eye(3), torch.ones(2, 3), 1.5, diagonal=True), "beta 1.5 is not between 0"),
    ],
)
def test_what_cannot_be_quantised_is_refused(call, message):
    with pytest.raises(ShapPruneError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
