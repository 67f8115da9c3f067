"""How large a network is with other widths, without making it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from shapprune.graph.counting import count_bytes, count_parameters
from shapprune.graph.dependents import Dependencies
from shapprune.graph.operations import LAYERS, is_depthwise
from shapprune.graph.parts import Part
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.fewer_heads import is_joint

MEASURES = ("macs", "parameters", "bytes")


@dataclass
class _Module:
    """How the size of a module follows from its inputs and outputs.

    Attributes:
        inputs: how many it has; 1 where the weight has no axis for them.
        outputs: how many it has.
        products: numbers of the weight for an input and an output.
        positions: outputs of a unit, in all calls together.
        parameters: other parameters for an output.
        buffers: numbers of buffers for an output.
        number: bytes of a number.
        read: layer -> inputs that a unit of it takes.
        put_out: layer -> outputs that a unit of it has.
    """

    inputs: int
    outputs: int
    products: int = 0
    positions: int = 0
    parameters: int = 0
    buffers: int = 0
    number: int = 4
    read: Counter[str] = field(default_factory=Counter)
    put_out: Counter[str] = field(default_factory=Counter)

    def size(self, gone: Mapping[str, Any]) -> dict[str, Any]:
        """The size with some units of some layers gone; numbers or arrays of them."""
        inputs = self.inputs - sum(count * gone.get(layer, 0) for layer, count in self.read.items())
        outputs = self.outputs - sum(count * gone.get(layer, 0) for layer, count in self.put_out.items())
        weights = inputs * outputs * self.products
        parameters = weights + outputs * self.parameters
        stored = (parameters + outputs * self.buffers) * self.number
        return {"macs": weights * self.positions, "parameters": parameters, "bytes": stored}


class Sizes:
    """Parameters, bytes and multiply-accumulate operations of a network as functions of the widths of its layers.

    Args:
        model: the network.
        graph: of it.
        dependencies: of it.
        layers: those whose width changes; one of each group whose units leave together.

    Attributes:
        full: layer -> its units.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.graph.dependents import Dependencies
        >>> from shapprune.graph.sizes import Sizes
        >>> from shapprune.graph.unit_graph import UnitGraph
        >>> model, image = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.zeros(1, 4)
        >>> graph = UnitGraph(model, image)
        >>> sizes = Sizes(model, graph, Dependencies(model, image, graph), ["0"])
        >>> sizes.of({"0": 6}), sizes.of({"0": 3})
        ({'macs': 36, 'parameters': 44, 'bytes': 176}, {'macs': 18, 'parameters': 23, 'bytes': 92})
    """

    def __init__(self, model: nn.Module, graph: UnitGraph, dependencies: Dependencies, layers: Sequence[str]):
        self.full = {layer: graph.units_of(layer) for layer in layers}
        found = {name: _describe(module, name, graph) for name, module in graph.modules.items()}
        self._modules = {name: module for name, module in found.items() if module is not None}
        for layer in layers:
            for each in dependencies.of(layer):
                if each.name in self._modules:
                    module = self._modules[each.name]
                    (module.read if each.reads else module.put_out)[layer] += each.places.shape[1]
            for part in dependencies.tables(layer):
                table = self._modules[f"{part.module}.{part.leaf}"] = _describe_table(model, part)
                table.put_out[layer] += part.places.shape[1]
        changing = [module.size({}) for module in self._modules.values()]
        whole = {"parameters": count_parameters(model), "bytes": count_bytes(model)}
        self._rest = {name: count - sum(each[name] for each in changing) for name, count in whole.items()}
        self._rest["macs"] = 0

    def of(self, widths: Mapping[str, Any]) -> dict[str, Any]:
        """The size with these widths, numbers or arrays of them; a layer that is not here keeps all units."""
        gone = {layer: self.full[layer] - width for layer, width in widths.items()}
        sizes = [module.size(gone) for module in self._modules.values()]
        return {name: self._rest[name] + sum(each[name] for each in sizes) for name in MEASURES}


def _describe_table(model: nn.Module, part: Part) -> _Module:
    """How large a parameter of no layer is, of which units have a part."""
    table = model.get_submodule(part.module).get_parameter(part.leaf)
    places = table.shape[part.axis]
    return _Module(1, places, parameters=table.numel() // places, number=table.element_size())


def _describe(module: nn.Module, name: str, graph: UnitGraph) -> _Module | None:
    """How large a module is; None where its size has nothing to do with units."""
    own = list(module.parameters(recurse=False))
    number = own[0].element_size() if own else 4
    if isinstance(module, LAYERS):
        weight = module.weight
        depthwise = is_depthwise(module)
        units = weight.shape[0]
        inputs = 1 if depthwise else weight.shape[1]
        positions = sum(graph.numbers_of(node) // units for node in graph.calls.get(name, ()))
        products = weight[0].numel() if depthwise else weight[0, 0].numel()
        return _Module(inputs, units, products, positions, int(module.bias is not None), 0, number)
    if is_joint(module):  # queries, keys and values; the layer that reads the heads is a module of its own
        outputs, inputs = module.get_parameter("in_proj_weight").shape
        positions = graph.numbers_of(graph.attentions[name].node) * 3 // outputs if name in graph.attentions else 0
        return _Module(inputs, outputs, 1, positions, int(module.in_proj_bias is not None), 0, number)
    channels = getattr(module, "num_features", None) or getattr(module, "num_parameters", 1)
    if isinstance(channels, int) and channels > 1:
        parameters = sum(each.numel() == channels for each in own)
        buffers = sum(each.numel() == channels for each in module.buffers(recurse=False))
        return _Module(1, channels, 0, 0, parameters, buffers, number)
    return None
