"""Files of networks with weights of few bits: safetensors of packed codes and scales, and a JSON manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shapprune.networks.state_dicts import fill
from shapprune.networks.storage import read_tensors, write_tensors
from shapprune.parameters.choice import first_names
from shapprune.parameters.quantisation import QuantisedNetwork, own_tensors
from shapprune.parameters.quantisers import Quantised

_CODES, _SCALES = ".codes", ".scales"
_WRITER = "shapprune.parameters.quantised_files.save_quantised"


def save_quantised(network: QuantisedNetwork, path: str | Path, /, **facts: Any) -> None:
    """Write a quantised network as safetensors, and a manifest beside it as ``.json``.

    Of a weight there are ``NAME.codes``, int8 or two codes of 4 bits a byte, and ``NAME.scales``, float32; all other
    parameters and buffers are there as they are, shared parameters once. The manifest holds ``quantised`` (bits and
    shape of each weight), ``sha256``, ``tensors`` and the facts.

    Args:
        network: what `shapprune.parameters.quantisation.quantise` returned.
        path: the safetensors file.
        facts: further entries of the manifest, as JSON can hold them.

    Raises:
        ShapPruneError: another file has the same manifest, or a fact is not finite.

    Examples:
        >>> import pathlib, tempfile, torch
        >>> from torch import nn
        >>> from shapprune.parameters.quantisation import Scheme, quantise
        >>> from shapprune.parameters.quantised_files import load_quantised, save_quantised
        >>> small = quantise(nn.Linear(5, 3), scheme=Scheme("round", bits=4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "small.safetensors")
        ...     save_quantised(small, path)
        ...     again = load_quantised(path, lambda: nn.Linear(5, 3))
        >>> torch.equal(again.model.weight, small.model.weight), again.bytes == small.bytes
        (True, True)
    """
    tensors = {name: each for name, each in own_tensors(network.model).items() if name not in network.weights}
    for name, each in network.weights.items():
        tensors |= {f"{name}{_CODES}": pack(each.codes, each.bits), f"{name}{_SCALES}": each.scales}
    quantised = {name: {"bits": each.bits, "shape": list(each.codes.shape)} for name, each in network.weights.items()}
    write_tensors(path, tensors, {**facts, "quantised": quantised})


def load_quantised(path: str | Path, build: Callable[[], nn.Module]) -> QuantisedNetwork:
    """Load what `save_quantised` wrote.

    Args:
        path: the safetensors file; its manifest lies beside it.
        build: makes the network; if it had lost units, the one without them, e.g. by `shapprune.load`.

    Returns:
        The network in eval mode, with the weights that its codes stand for in its own type of number.

    Raises:
        ShapPruneError: a file is missing, was changed, or belongs to another architecture.
    """
    state, manifest = read_tensors(path, _WRITER, "quantised")
    model = build()
    own, weights = dict(model.named_parameters()), dict[str, Quantised]()
    for name, facts in manifest["quantised"].items():
        codes = unpack(state.pop(f"{name}{_CODES}"), facts["bits"], torch.Size(facts["shape"]))
        weights[name] = Quantised(codes, state.pop(f"{name}{_SCALES}"), facts["bits"])
        state[name] = weights[name].weight(own[name].dtype if name in own else torch.float32)
    state |= {name: state[first] for name, first in first_names(model).items() if name != first and first in state}
    fill(model, state, path)
    return QuantisedNetwork(model.eval(), weights, {})


def pack(codes: Tensor, bits: int) -> Tensor:
    """Codes as they are in a file: int8 as they are; of 4 bits uint8, the first of two in the lower half of a byte.

    Examples:
        >>> import torch
        >>> from shapprune.parameters.quantised_files import pack, unpack
        >>> codes = torch.tensor([[1, -1, 7]], dtype=torch.int8)
        >>> packed = pack(codes, 4)
        >>> packed.tolist()  # 1 + 16 * 15, and 7
        [241, 7]
        >>> unpack(packed, 4, codes.shape).tolist()
        [[1, -1, 7]]
    """
    if bits == 8:
        return codes
    halves = codes.flatten().view(torch.uint8) & 15
    halves = torch.cat([halves, halves.new_zeros(len(halves) % 2)])
    return halves[::2] | halves[1::2] << 4


def unpack(packed: Tensor, bits: int, shape: torch.Size) -> Tensor:
    """Undo `pack`, int8 in a shape."""
    if bits == 8:
        return packed.view(shape)
    halves = torch.stack([packed & 15, packed >> 4], 1).flatten()[: shape.numel()].to(torch.int8)
    return torch.where(halves > 7, halves - 16, halves).view(shape)
