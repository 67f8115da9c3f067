"""What depends on the units of a layer: where they are put out, and where they are read; and networks without some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor, nn

from shapprune.graph.channels import Channels
from shapprune.graph.head_parts import head_parts
from shapprune.graph.parts import Dependent, Part, cut_parts
from shapprune.graph.tokens import neuron_dependents, parts_of_linear
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.fewer_heads import fewer_heads

Group = tuple[str, ...]
_WEIGHTS = ("weight", "in_proj_weight")
_BIASES = ("bias", "in_proj_bias")


@dataclass(frozen=True)
class Lost:
    """What a module loses when units leave.

    Attributes:
        outputs: its channels or features that it puts out no longer.
        inputs: those that it gets no longer.
    """

    outputs: set[int] = field(default_factory=set)
    inputs: set[int] = field(default_factory=set)


class Dependencies:
    """What depends on which units in a network.

    Args:
        model: a network; it is left as it is until units are removed.
        example: images, [N, ...], that it can run on.
        graph: of the network, or of one that it is a copy of; it is traced where none is given.

    Attributes:
        graph: the same.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.graph.dependents import Dependencies
        >>> image = torch.rand(1, 1, 4, 4)
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
        >>> for each in Dependencies(model, image).of("0"):
        ...     print(each.name, each.reads, each.places.tolist())
        0 False [[0], [1]]
        3 True [[0, 1, 2, 3], [4, 5, 6, 7]]
    """

    def __init__(self, model: nn.Module, example: Tensor, graph: UnitGraph | None = None):
        self._model, self._example = model, example
        self.graph = UnitGraph(model, example) if graph is None else graph
        self._found: dict[str, tuple[list[Part], Dependent]] = {}

    @cached_property
    def channels(self) -> Channels:
        """What Torch-Pruning follows.

        Raises:
            ShapPruneError: it cannot follow the network.
        """
        return Channels(self._model, self._example, self.graph.traced)

    def of(self, layer: str) -> list[Dependent]:
        """List the modules that depend on the units of a layer, those first that put them out.

        Raises:
            ShapPruneError: what depends on them cannot be followed.
        """
        if layer in self.graph.attentions:
            parts, reader = self._heads(layer)
            weights = [each for each in parts if each.leaf in _WEIGHTS]
            return [*(Dependent(each.module, False, each.places) for each in weights), reader]
        if self.graph.on_tokens(layer):
            return neuron_dependents(self.graph, layer)
        return self.channels.of(layer)

    def lost(self, units: Mapping[str, Sequence[int]]) -> dict[str, Lost]:
        """List what modules lose when units of some layers leave.

        Args:
            units: layer -> the units that leave.

        Raises:
            ShapPruneError: what depends on them cannot be followed.
        """
        found: dict[str, Lost] = {}
        for layer, gone in units.items():
            for each in self.of(layer) if len(gone) else ():
                own = found.setdefault(each.name, Lost())
                (own.inputs if each.reads else own.outputs).update(each.places[list(gone)].flatten().tolist())
        return found

    def tables(self, layer: str) -> list[Part]:
        """List the parts that units of a layer have in parameters of no layer, as heads have in tables of biases.

        Raises:
            ShapPruneError: what depends on them cannot be followed.
        """
        parts = self._heads(layer)[0] if layer in self.graph.attentions else []
        layers = {each.module for each in parts if each.leaf in _WEIGHTS}
        return [each for each in parts if each.module not in layers or each.leaf not in (*_WEIGHTS, *_BIASES)]

    def _heads(self, layer: str) -> tuple[list[Part], Dependent]:
        if layer not in self._found:
            self._found[layer] = head_parts(self.graph, layer, self._example)
        return self._found[layer]

    def remove(self, chosen: Mapping[Group, Sequence[int]]) -> None:
        """Cut units of some groups of layers, and all that depends on them, out of the network, in place.

        Raises:
            ShapPruneError: what depends on them cannot be followed.
        """
        parts: list[tuple[Part, Sequence[int]]] = []
        for (name, *_), units in chosen.items():  # the others of a group depend on the first
            if name in self.graph.attentions:
                own, reader = self._heads(name)
                parts += [(each, units) for each in (*own, *parts_of_linear(self.graph, reader))]
            elif self.graph.on_tokens(name):
                for each in neuron_dependents(self.graph, name):
                    parts += [(part, units) for part in parts_of_linear(self.graph, each)]
            else:
                self.channels.remove(name, list(units))
        for (name, *_), units in chosen.items():
            if (attention := self.graph.attentions.get(name)) is not None:
                fewer_heads(self._model, name, attention.heads, attention.units, attention.units - len(set(units)))
        cut_parts(self._model, parts)
