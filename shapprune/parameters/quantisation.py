"""Networks whose linear layers and convolutions have weights of few bits."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, few, unknown
from shapprune.graph.rows import has_rows
from shapprune.networks.modes import outside_inference
from shapprune.parameters.choice import first_names
from shapprune.parameters.hessians import corrected_hessian, input_hessians
from shapprune.parameters.quantisers import Quantised, gptq, round_to_nearest, scales_of

# `round`: the nearest codes. Others are GPTQ, with: the whole Hessian; its diagonal, as optimal brain damage has it;
# the diagonal with the paper's correction; the whole Hessian with a corrected diagonal.
METHODS = ("round", "gptq", "obd", "shapley-diagonal", "shapley")


@dataclass(frozen=True)
class Scheme:
    """How weights are quantised.

    Attributes:
        method: ``round`` (to the nearest), ``gptq`` (the whole Hessian of calibration inputs), ``obd`` (its diagonal),
            ``shapley-diagonal`` (the diagonal, corrected: the paper's rule as its code has it) or ``shapley`` (the
            same correction, all else kept). Diagonal Hessians give the codes of ``round``.
        bits: 4 or 8.
        beta: how much of the correction there is, from 0 to 1; of the last two methods.
        damping: share of the mean of a Hessian's diagonal that is added to it, at least 0.
        block: columns whose errors are carried on together, at least 1.
        batch: calibration examples that run together, at least 1.

    Raises:
        ShapPruneError: a value that is not allowed.
    """

    method: Literal["round", "gptq", "obd", "shapley-diagonal", "shapley"] = "gptq"
    bits: int = 8
    beta: float = 0.5
    damping: float = 0.01
    block: int = 128
    batch: int = 16

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("method of quantisation", self.method, METHODS)
        if not 0 <= self.beta <= 1:
            raise ShapPruneError(f"beta {self.beta} is not between 0 and 1")
        if self.damping < 0 or self.block < 1 or self.batch < 1:
            raise ShapPruneError(
                f"damping {self.damping}, block {self.block} and batch {self.batch} must be at least 0, 1 and 1"
            )
        scales_of(torch.zeros(1, 1), self.bits)


@dataclass(frozen=True)
class QuantisedNetwork:
    """A network with weights of few bits.

    Attributes:
        model: it computes with the weights that the codes stand for, in its own type of number.
        weights: name of a weight -> its codes and scales.
        whole: layers whose weights were left as they are -> why.
        bytes: of all parameters and buffers, codes packed and shared ones once, as they are in a file.
        bytes_before: the same before quantisation.
    """

    model: nn.Module
    weights: Mapping[str, Quantised]
    whole: Mapping[str, str]

    @property
    def bytes(self) -> int:
        """See the class."""
        left = sum(each.nbytes for name, each in own_tensors(self.model).items() if name not in self.weights)
        return left + sum(each.bytes for each in self.weights.values())

    @property
    def bytes_before(self) -> int:
        """See the class."""
        return sum(each.nbytes for each in own_tensors(self.model).values())


@outside_inference
def quantise(
    model: nn.Module, inputs: Tensor | None = None, scheme: Scheme | None = None, layers: Iterable[str] | None = None
) -> QuantisedNetwork:
    """Quantise the weights of a network's linear layers and convolutions; biases and all else stay as they are.

    Each row of a weight has a scale, and codes lie around zero. Hessians are those of the network before, with all its
    weights whole. A warning names layers whose Hessians were not positive definite and were damped more than asked.

    Args:
        model: the network; it is left as it is.
        inputs: images or tokens to calibrate with, [N, ...], on any device; ``round`` needs none.
        scheme: how; by default ``Scheme()``, GPTQ with 8 bits.
        layers: names of layers; None for all linear layers and convolutions of two dimensions and one group whose
            weights are shared with nothing.

    Raises:
        ShapPruneError: no inputs where some are needed, a layer that is unknown, of another kind, shares its weight or
            does not run.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.parameters.quantisation import Scheme, quantise
        >>> _ = torch.manual_seed(0)
        >>> model, images = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)), torch.randn(100, 64)
        >>> small = quantise(model, images, Scheme("gptq", bits=4))
        >>> small.bytes_before, small.bytes  # 2304 weights of half a byte, 40 biases and 40 scales of four
        (9376, 1472)
        >>> rounded = quantise(model, scheme=Scheme("round", bits=4))
        >>> error, error_rounded = ((each.model(images) - model(images)).square().mean() for each in (small, rounded))
        >>> bool(error < error_rounded)
        True

    Source: Frantar et al. 2023 (GPTQ); Algorithm 1 of Chu et al. 2025.
    """
    scheme = scheme or Scheme()
    chosen, whole = _choose(model, layers)
    needs_inputs = scheme.method != "round"
    if needs_inputs and inputs is None:
        raise ShapPruneError(f"method {scheme.method!r} calibrates with images or tokens; give some, or take 'round'")
    hessians = input_hessians(model, inputs, chosen, scheme.batch) if needs_inputs and inputs is not None else {}
    small, found, damped = copy.deepcopy(model), dict[str, Quantised](), list[str]()
    for name in chosen:
        if needs_inputs and name not in hessians:
            if layers is not None:
                raise ShapPruneError(f"layer {name!r} does not run by itself, so there is nothing to calibrate with")
            whole[name] = "it does not run by itself"
            continue
        parameter = small.get_parameter(_weight(name))
        found[_weight(name)] = each = _quantise(parameter, hessians.get(name), scheme)
        if each.damping > scheme.damping:
            damped.append(f"{name} by {each.damping:g}")
        with torch.no_grad():
            parameter.copy_(each.weight(parameter.dtype))
    if damped:
        warnings.warn(
            f"Hessians that were not positive definite were damped, of the mean of their diagonals: {few(damped)}",
            stacklevel=3,
        )
    return QuantisedNetwork(small, found, whole)


def own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers that a network stores, shared parameters once, under the names of their first use."""
    first = first_names(model)
    return {name: each for name, each in model.state_dict().items() if first.get(name, name) == name}


def _quantise(weight: Tensor, hessian: Tensor | None, scheme: Scheme) -> Quantised:
    if hessian is None:
        return round_to_nearest(weight, scheme.bits)
    if scheme.method == "obd":
        hessian = torch.diag(hessian.diagonal())
    elif scheme.method != "gptq":
        diagonal = scheme.method == "shapley-diagonal"
        hessian = corrected_hessian(hessian, weight, scheme.beta, diagonal=diagonal)
    return gptq(weight, hessian, scheme.bits, damping=scheme.damping, block=scheme.block)


def _weight(layer: str) -> str:
    return f"{layer}.weight" if layer else "weight"


def _choose(model: nn.Module, layers: Iterable[str] | None) -> tuple[list[str], dict[str, str]]:
    """The layers that are quantised, and those that are not, with the reason."""
    modules, first = dict(model.named_modules()), first_names(model)
    uses = list(first.values())
    reasons = {}
    for name, module in modules.items():
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            reasons[name] = "" if has_rows(module) else "its inputs are no rows that its own weights multiply"
            if has_rows(module) and uses.count(first[_weight(name)]) > 1:
                reasons[name] = "its weight is shared"
    if layers is None:
        chosen = [name for name, reason in reasons.items() if not reason]
        if not chosen:
            raise ShapPruneError(f"{type(model).__name__} has no layers whose weights can be quantised")
        return chosen, {name: reason for name, reason in reasons.items() if reason}
    chosen = list(dict.fromkeys(layers))
    for name in chosen:
        if name not in reasons:
            raise unknown("layer", name, reasons)
        if reasons[name]:
            raise ShapPruneError(f"layer {name!r} cannot be quantised: {reasons[name]}")
    return chosen, {}
