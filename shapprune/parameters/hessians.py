"""Hessians of the squared error of a layer's outputs in its weights: of calibration inputs, and corrected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.graph.rows import has_rows, input_rows
from shapprune.networks.batches import in_batches
from shapprune.networks.modes import mode

_NUMBERS = 2**27  # of all Hessians that are made in one pass
_LEAST = 1e-6  # damping, where some is needed and none was asked for
_SMALL = 1e-6  # what the paper's code adds to a denominator


@torch.no_grad()
def input_hessians(model: nn.Module, inputs: Tensor, layers: Iterable[str], batch: int = 16) -> dict[str, Tensor]:
    """The Hessian of the squared error of each layer's outputs: 2 X'X / n of its n input rows.

    The network runs in eval mode and is handed back as it came. It is run again where all Hessians together are large.

    Args:
        model: the network.
        inputs: images or tokens to calibrate with, [N, ...].
        layers: names of linear layers, or of convolutions of two dimensions and one group.
        batch: examples that run together.

    Returns:
        Layer -> float64 [k, k] of its k inputs; of a convolution k = channels * kernel. A layer that does not run in
        eval mode has none.

    Raises:
        ShapPruneError: no inputs, or a layer of another kind.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.parameters.hessians import input_hessians
        >>> model = nn.Sequential(nn.Linear(2, 3))
        >>> input_hessians(model, torch.tensor([[1.0, 2.0], [3.0, 0.0]]), ["0"])["0"]
        tensor([[10.,  2.],
                [ 2.,  4.]], dtype=torch.float64)

    Source: Frantar et al. 2023, section 3.
    """
    if len(inputs) == 0:
        raise ShapPruneError("weights are calibrated with 0 examples, 1 or more are needed")
    modules = {name: model.get_submodule(name) for name in layers}
    if wrong := [name for name, module in modules.items() if not has_rows(module)]:
        raise ShapPruneError(f"{wrong[0]!r} is a {type(modules[wrong[0]]).__name__} whose inputs are no rows")
    device = next((each.device for each in model.parameters()), inputs.device)
    sums: dict[str, Tensor] = {}
    counts = dict.fromkeys(modules, 0)

    def collect(name: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def add(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            values = given[0] if given else named["input"]
            rows = input_rows(module, values).flatten(0, 1).double()  # type: ignore[arg-type]
            sums[name] = rows.mT @ rows + sums.get(name, 0)
            counts[name] += len(rows)

        return add

    for some in _groups(modules):
        hooks = [modules[name].register_forward_pre_hook(collect(name), with_kwargs=True) for name in some]
        try:
            with mode(model, training=False):
                for part in track(in_batches(inputs.to(device), batch), "batches"):
                    model(part)
        finally:
            for hook in hooks:
                hook.remove()
    return {name: 2 * total / counts[name] for name, total in sums.items()}


def _groups(modules: dict[str, nn.Module]) -> Iterator[list[str]]:
    """Layers whose Hessians together have no more than `_NUMBERS` numbers, or one layer."""
    group, numbers = list[str](), 0
    for name, module in modules.items():
        own = module.get_parameter("weight")[0].numel() ** 2
        if group and numbers + own > _NUMBERS:
            yield group
            group, numbers = [], 0
        group.append(name)
        numbers += own
    yield group


def corrected_hessian(hessian: Tensor, weight: Tensor, beta: float, *, diagonal: bool) -> Tensor:
    """A Hessian whose diagonal is scaled by how much of the second-order score of each column comes from others.

    Column j of the weights theta has the factor w_j = |sum of theta (theta H)| / |sum of theta^2 H_jj|, over the rows,
    and H_jj becomes beta w_j H_jj + (1 - beta) H_jj. It is to be applied once, after calibration.

    Args:
        hessian: [k, k].
        weight: [out, ...], k numbers a row.
        beta: from 0, which changes no diagonal, to 1.
        diagonal: whether all but the diagonal is dropped, as in the paper's code; then nothing is left that GPTQ could
            make up for, and its codes are the nearest. Else the others are kept, and the matrix need not be positive
            definite any more.

    Raises:
        ShapPruneError: a ``beta`` outside [0, 1].

    Examples:
        >>> import torch
        >>> from shapprune.parameters.hessians import corrected_hessian
        >>> hessian, weight = torch.tensor([[2.0, 1.0], [1.0, 4.0]]), torch.tensor([[1.0, -1.0]])
        >>> corrected_hessian(hessian, weight, 1.0, diagonal=False)  # factors |2 - 1| / 2 and |-1 + 4| / 4
        tensor([[1.0000, 1.0000],
                [1.0000, 3.0000]], dtype=torch.float64)

    Source: Algorithm 1 of Chu et al. 2025; the factor by columns is that of the authors' code.
    """
    if not 0 <= beta <= 1:
        raise ShapPruneError(f"beta {beta} is not between 0 and 1")
    H, W = hessian.double(), weight.detach().flatten(1).double()
    own = H.diagonal()
    factors = (W * (W @ H)).sum(0).abs() / ((W.square() * own).sum(0).abs() + _SMALL)
    scaled = torch.diag((beta * factors + 1 - beta) * own)
    return scaled if diagonal else H - torch.diag(own) + scaled


def inverse_root(hessian: Tensor, damping: float) -> tuple[Tensor, float]:
    """The upper Cholesky factor U of a damped Hessian's inverse, U'U, and the damping that it took.

    Args:
        hessian: [k, k], symmetric.
        damping: share of the mean of the diagonal that is added to it, at least 0. Where that leaves no positive
            definite matrix, it is so much more that the lowest eigenvalue is what it would be of a lowest one of zero.

    Raises:
        ShapPruneError: a Hessian that is not finite, or a damping below 0.
    """
    if damping < 0 or not hessian.isfinite().all():
        raise ShapPruneError(f"a Hessian must be finite and its damping, {damping}, at least 0")
    hessian = hessian.double()
    mean = float(hessian.diagonal().mean())
    unit = mean if mean > 0 else max(1.0, float(hessian.abs().max()))
    while (root := _root(hessian, damping * unit)) is None:
        lowest = min(0.0, float(torch.linalg.eigvalsh(hessian)[0]))
        damping = max(2 * damping, max(damping, _LEAST) - lowest / unit)
    return root, damping


def _root(hessian: Tensor, added: float) -> Tensor | None:
    """The factor of a Hessian with a number added to its diagonal; None if it is not positive definite."""
    lower, wrong = torch.linalg.cholesky_ex(hessian + added * torch.eye(len(hessian)).to(hessian))
    if wrong:
        return None
    root, wrong = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
    return None if wrong or not root.isfinite().all() else root
