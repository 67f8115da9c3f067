"""Products with the Hessian against matrices that are written out, for each kind of block."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError
from shapprune.parameters import curvature
from shapprune.parameters.expansion import Expansion
from shapprune.parameters.scores import score_parameters
from tests.unit.parameters.cases import BLOCKS, cut, examples, flat, flat_loss, gradients_of_examples, small_network
from tests.unit.transformers import CASES, build


def second(expansion: Expansion) -> torch.Tensor:
    """theta (H theta) / 2 of the small network, all parameters side by side."""
    return flat(score_parameters(small_network(), *examples(), expansion).second)


@pytest.mark.parametrize("block", BLOCKS)
def test_exact_products_are_those_of_two_derivatives_by_hand(block):
    loss, theta = flat_loss(small_network(), *examples())
    whole = torch.func.hessian(loss)(theta)
    found = second(Expansion("exact", block))
    torch.testing.assert_close(found, theta * (cut(whole, block) @ theta) / 2)
    first = flat(score_parameters(small_network(), *examples(), Expansion("exact", block)).first)
    torch.testing.assert_close(first, -theta * torch.func.grad(loss)(theta))


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("hessian", ["fisher", "batch"])
def test_fisher_products_are_those_of_loops(hessian, block):
    model = small_network()
    gradients = gradients_of_examples(model, *examples())
    theta = flat(dict(model.named_parameters())).detach()
    if hessian == "batch":
        gradients = gradients.mean(0, keepdim=True)
    fisher = sum(torch.outer(each, each) for each in gradients) / len(gradients)
    torch.testing.assert_close(second(Expansion(hessian, block)), theta * (cut(fisher, block) @ theta) / 2)


def test_the_shipped_product_by_rows():
    model, (inputs, labels) = small_network(), examples()
    nn.functional.cross_entropy(model(inputs), labels).backward()
    found = score_parameters(model, inputs, labels, Expansion("shipped", "matrix")).second
    for name, each in model.named_parameters():
        G, W = each.grad.reshape(len(each), -1), each.detach().reshape(len(each), -1)
        for row in range(len(each)):
            by_hand = sum((G[row] @ G[other]) * (W[row] @ W[other]) for other in range(len(each))) / 2
            torch.testing.assert_close(found[name][row].sum(), by_hand)


def test_rows_of_a_transposed_weight_lie_on_its_second_axis():
    case = CASES["gpt2"]
    model = build(case).double()
    labels, name = case.inputs.roll(-1, 1), "transformer.h.0.mlp.c_proj.weight"
    found = score_parameters(model, case.inputs, labels, Expansion("batch", "row"), names=[name])
    theta = model.get_parameter(name).detach()
    gradient = -found.first[name] / theta
    expected = (gradient * (gradient * theta).sum(0)) * theta / 2
    torch.testing.assert_close(found.second[name], expected)
    shipped = score_parameters(model, case.inputs, labels, Expansion("shipped", "matrix"), names=[name]).second[name]
    torch.testing.assert_close(shipped, theta * (gradient.mT @ gradient @ theta.mT).mT / 2)


def test_blocks_of_heads_hold_what_belongs_to_a_head():
    case = CASES["torchvision vit"]
    model, labels = build(case).double(), torch.tensor([0, 1, 2])
    inputs = case.inputs.double()
    name = f"{case.heads[0]}.in_proj_weight"
    names = [name, name.replace("weight", "bias"), f"{case.heads[1]}.weight"]
    found = score_parameters(model, inputs, labels, Expansion("batch", "head"), names=names)
    nn.functional.cross_entropy(model(inputs), labels).backward()
    thetas = [model.get_parameter(each).detach() for each in names]
    weight, bias, reader = (model.get_parameter(each).grad for each in names)
    dots = (weight * thetas[0]).reshape(3, 4, 8, 32).sum((0, 2, 3))  # queries, keys and values; heads; numbers
    dots += (bias * thetas[1]).reshape(3, 4, 8).sum((0, 2))
    expected = (weight.reshape(3, 4, 8, 32) * dots[:, None, None]).reshape(weight.shape) * thetas[0] / 2
    torch.testing.assert_close(found.second[names[0]], expected)
    # The layer that reads the heads is none of theirs: its matrix is a block.
    torch.testing.assert_close(found.second[names[2]], reader * (reader * thetas[2]).sum() * thetas[2] / 2)


def test_a_loss_that_is_linear_in_a_block_has_no_second_order_there():
    model = nn.Linear(2, 1).double()
    found = score_parameters(model, torch.ones(3, 2).double(), torch.zeros(3), payoff=lambda y, _: y[:, 0])
    assert not flat(found.second).any()
    torch.testing.assert_close(found.both["bias"], model.bias.detach())


def test_a_network_without_second_derivative_is_told_what_to_take(monkeypatch):
    """Fused attention has none; it is what is left when the plain kernel is not asked for."""
    monkeypatch.setattr(curvature, "sdpa_kernel", lambda _: contextlib.nullcontext())
    case = CASES["torchvision vit"]
    model, labels = case.build().eval(), torch.tensor([0, 1, 2])
    with pytest.raises(ShapPruneError, match=r"no second derivative .*; take Hessian 'fisher', 'batch' or 'none'"):
        score_parameters(model, case.inputs, labels)
    assert not score_parameters(model, case.inputs, labels, Expansion("batch")).unreached
