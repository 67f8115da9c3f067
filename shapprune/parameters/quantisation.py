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
from shapprune.parameters.hessians import corrected_hessian, hessians_in_turn, input_hessians
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
        in_turn: whether layers are quantised in the order in which they run, each calibrated with what those before it
            put out once they are quantised. Else all Hessians are those of the network as it was.

    Raises:
        ShapPruneError: a value that is not allowed.
    """

    method: Literal["round", "gptq", "obd", "shapley-diagonal", "shapley"] = "gptq"
    bits: int = 8
    beta: float = 0.5
    damping: float = 0.01
    block: int = 128
    batch: int = 16
    in_turn: bool = False

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
    model: nn.Module,
    inputs: Tensor | None = None,
    scheme: Scheme | None = None,
    layers: Iterable[str] | None = None,
    *,
    hessians: Mapping[str, Tensor] | None = None,
) -> QuantisedNetwork:
    """Quantise the weights of a network's linear layers and convolutions; biases and all else stay as they are.

    Each row of a weight has a scale, and codes lie around zero. A warning names layers whose Hessians were not positive
    definite and were damped more than asked.

    Args:
        model: the network; it is left as it is.
        inputs: images or tokens to calibrate with, [N, ...], on any device; ``round`` needs none.
        scheme: how; by default ``Scheme()``, GPTQ with 8 bits.
        layers: names of layers; None for all linear layers and convolutions of two dimensions and one group whose
            weights are shared with nothing.
        hessians: of `shapprune.parameters.hessians.input_hessians`, in the place of inputs, where several schemes share
            them. They are of the network as it is, so a scheme ``in_turn`` does not take them.

    Raises:
        ShapPruneError: no inputs where some are needed, a layer that is unknown, of another kind, shares its weight or
            does not run, or Hessians for a scheme ``in_turn``.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import shapprune
        >>> _ = torch.manual_seed(0)
        >>> model, images = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)), torch.randn(100, 64)
        >>> small = shapprune.quantise(model, images, shapprune.Scheme("gptq", bits=4))
        >>> small.bytes_before, small.bytes  # 2304 weights of half a byte, 40 biases and 40 scales of four
        (9376, 1472)
        >>> rounded = shapprune.quantise(model, scheme=shapprune.Scheme("round", bits=4))
        >>> error, error_rounded = ((each.model(images) - model(images)).square().mean() for each in (small, rounded))
        >>> bool(error < error_rounded)
        True

    Source: Frantar et al. 2023 (GPTQ); Algorithm 1 of Chu et al. 2025.
    """
    scheme = scheme or Scheme()
    chosen, whole = choose_layers(model, layers)
    small, found, damped = copy.deepcopy(model), dict[str, Quantised](), list[str]()
    for turn in _turns(small, inputs, scheme, chosen, hessians):
        for name, hessian in turn.items():
            parameter = small.get_parameter(weight_of(name))
            found[weight_of(name)] = each = _quantise(parameter, hessian, scheme)
            if each.damping > scheme.damping:
                damped.append(f"{name} by {each.damping:g}")
            with torch.no_grad():
                parameter.copy_(each.weight(parameter.dtype))
    for name in chosen:
        if weight_of(name) not in found:
            if layers is not None:
                raise ShapPruneError(f"layer {name!r} does not run by itself, so there is nothing to calibrate with")
            whole[name] = "it does not run by itself"
    if damped:
        warnings.warn(
            f"Hessians that were not positive definite were damped by a share of their mean diagonal: {few(damped)}",
            stacklevel=3,
        )
    in_order = {weight: found[weight] for weight in map(weight_of, chosen) if weight in found}
    return QuantisedNetwork(small, in_order, whole)


def _turns(
    model: nn.Module,
    inputs: Tensor | None,
    scheme: Scheme,
    layers: list[str],
    hessians: Mapping[str, Tensor] | None,
) -> Iterable[Mapping[str, Tensor | None]]:
    """The layers that are quantised side by side, and their Hessians, turn by turn."""
    if scheme.method == "round":
        return [dict.fromkeys(layers)]
    if hessians is not None:
        if scheme.in_turn:
            raise ShapPruneError("Hessians that are known do not fit a scheme in turn, which makes them layer by layer")
        return [{name: hessians[name] for name in layers if name in hessians}]
    if inputs is None:
        raise ShapPruneError(f"method {scheme.method!r} calibrates with images or tokens; give some, or take 'round'")
    if scheme.in_turn:
        return hessians_in_turn(model, inputs, layers, scheme.batch)
    return [input_hessians(model, inputs, layers, scheme.batch)]


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


def weight_of(layer: str) -> str:
    """The name of a layer's weight."""
    return f"{layer}.weight" if layer else "weight"


def choose_layers(model: nn.Module, layers: Iterable[str] | None = None) -> tuple[list[str], dict[str, str]]:
    """The layers that `quantise` quantises, and the other linear layers and convolutions, with the reason.

    Args:
        model: the network.
        layers: as for `quantise`; there are no others where they are given.

    Raises:
        ShapPruneError: as `quantise`.
    """
    modules, first = dict(model.named_modules()), first_names(model)
    uses = list(first.values())
    reasons = {}
    for name, module in modules.items():
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            reasons[name] = "" if has_rows(module) else "its inputs are no rows that its own weights multiply"
            if has_rows(module) and uses.count(first[weight_of(name)]) > 1:
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
