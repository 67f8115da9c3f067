"""Quantisers against hand computation, and what Hessians make of them."""

from __future__ import annotations

import pytest
import torch

from shapprune import ShapPruneError
from shapprune.parameters.hessians import corrected_hessian
from shapprune.parameters.quantisers import gptq, round_to_nearest, scales_of
from tests.unit.parameters.cases import drawn


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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scales_of(torch.ones(1, 1), 3), "weights of 3 bits are not possible; allowed: 4, 8"),
        (lambda: round_to_nearest(torch.tensor([[torch.nan]])), "that is not finite"),
        (lambda: gptq(torch.ones(2, 3), torch.eye(2)), "does not fit a weight of 3 columns"),
        (lambda: gptq(torch.ones(2, 3), torch.eye(3), block=0), "a block of 0 columns"),
        (lambda: gptq(torch.ones(2, 3), torch.eye(3), damping=-1), "its damping, -1, at least 0"),
    ],
)
def test_what_cannot_be_quantised_is_refused(call, message):
    with pytest.raises(ShapPruneError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
