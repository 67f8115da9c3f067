"""Hessians of the squared error of a layer's outputs in its weights: of calibration inputs, and corrected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
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
    modules, found = _with_rows(model, inputs, layers), dict[str, Tensor]()
    for some in _groups(modules):
        found |= _collected(model, inputs, {name: modules[name] for name in some}, batch)
    return found


def hessians_in_turn(
    model: nn.Module, inputs: Tensor, layers: Iterable[str], batch: int = 16
) -> Iterator[dict[str, Tensor]]:
    """The Hessians of `input_hessians`, in the order in which layers run, those of layers that read the same together.

    Between two of them weights of the network may be changed: those that follow are of the network as it is then. Each
    is a pass up to its layers.

    Args:
        model: the network.
        inputs: images or tokens to calibrate with, [N, ...].
        layers: names of linear layers, or of convolutions of two dimensions and one group. Those that do not run in
            eval mode are left out.
        batch: examples that run together.

    Raises:
        ShapPruneError: as `input_hessians`.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.parameters.hessians import hessians_in_turn
        >>> model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(1, 1))
        >>> for found in hessians_in_turn(model, torch.tensor([[1.0, 2.0]]), ["0", "1"]):
        ...     print(found)
        ...     _ = model[0].weight.data.fill_(1.0)
        {'0': tensor([[2., 4.],
                [4., 8.]], dtype=torch.float64)}
        {'1': tensor([[18.]], dtype=torch.float64)}

    Source: the set-up of the experiments of Frantar et al. 2023, in which blocks are quantised in turn.
    """
    modules = _with_rows(model, inputs, layers)
    for some, calls in _turns(model, inputs[:2], modules):
        yield _collected(model, inputs, {name: modules[name] for name in some}, batch, calls)


class _EnoughError(Exception):
    """A pass has come as far as it is wanted to."""


def _with_rows(model: nn.Module, inputs: Tensor, layers: Iterable[str]) -> dict[str, nn.Module]:
    """The layers by their names, which are checked."""
    if len(inputs) == 0:
        raise ShapPruneError("weights are calibrated with 0 examples, 1 or more are needed")
    modules = {name: model.get_submodule(name) for name in layers}
    if wrong := [name for name, module in modules.items() if not has_rows(module)]:
        raise ShapPruneError(f"{wrong[0]!r} is a {type(modules[wrong[0]]).__name__} whose inputs are no rows")
    return modules


def _turns(model: nn.Module, inputs: Tensor, modules: Mapping[str, nn.Module]) -> list[tuple[list[str], int]]:
    """The layers that run, from input to output, those that read the same values together; and how often they run."""
    calls: list[tuple[str, Tensor]] = []  # the values are held, so that no two have one id
    _run(model, inputs, len(inputs), modules, lambda name, values: calls.append((name, values)))
    names, turns = [name for name, _ in calls], dict[int | str, list[str]]()
    for name, values in calls:
        turns.setdefault(id(values) if names.count(name) == 1 else name, []).append(name)
    return [(list(dict.fromkeys(some)), len(some)) for some in turns.values()]


def _collected(
    model: nn.Module, inputs: Tensor, modules: Mapping[str, nn.Module], batch: int, calls: int | None = None
) -> dict[str, Tensor]:
    """The Hessians of some layers; passes end after so many calls of these."""
    sums, counts = dict[str, Tensor](), dict.fromkeys(modules, 0)

    def add(name: str, values: Tensor) -> None:
        rows = input_rows(modules[name], values).flatten(0, 1).double()  # type: ignore[arg-type]
        sums[name] = rows.mT @ rows + sums.get(name, 0)
        counts[name] += len(rows)

    _run(model, inputs, batch, modules, add, calls)
    return {name: 2 * total / counts[name] for name, total in sums.items()}


@torch.no_grad()
def _run(
    model: nn.Module,
    inputs: Tensor,
    batch: int,
    modules: Mapping[str, nn.Module],
    see: Callable[[str, Tensor], None],
    calls: int | None = None,
) -> None:
    """Run a network in eval mode, and see what goes into some of its layers, at most so many calls a batch."""
    device = next((each.device for each in model.parameters()), inputs.device)
    seen = 0

    def hook(name: str, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        nonlocal seen
        see(name, given[0] if given else named["input"])
        seen += 1
        if seen == calls:
            raise _EnoughError

    hooks = [each.register_forward_pre_hook(partial(hook, name), with_kwargs=True) for name, each in modules.items()]
    try:
        with mode(model, training=False):
            for part in track(in_batches(inputs, batch), "batches"):
                seen = 0
                with suppress(_EnoughError):
                    model(part.to(device))
    finally:
        for each in hooks:
            each.remove()


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
