"""A network's graph in terms of units: where a unit is zeroed, and which layer it goes into next."""

from __future__ import annotations

from collections import Counter
from functools import cached_property

from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.graph.attention import Attention, find_attentions
from shapprune.graph.company import Company
from shapprune.graph.cut import constants, ignore_sizes, node_shapes
from shapprune.graph.exporting import recorded_layers
from shapprune.graph.heads import trace_heads
from shapprune.graph.layout import Layout
from shapprune.graph.operations import (
    LAYERS,
    Meaning,
    is_depthwise,
    is_plain_norm,
    keeps_forward,
    meaning_of_function,
    meaning_of_module,
    places_of,
)
from shapprune.graph.shapes import keeps_last, keeps_units
from shapprune.graph.tracing import trace

_LARGEST = 2**26
SITES = ("output", "norm", "activation")


class UnitGraph:
    """A traced network, with what each of its operations does to units.

    Args:
        model: a network of one input that torch.fx or torch.export can follow.
        example: images, [N, ...], that the network can run on.
        traced: its graph, where it has been recorded already.

    Attributes:
        traced: the graph module; it shares modules and parameters with the network.
        shapes: shape of every tensor for the example.
        outputs: what the network returns for the example.
        modules: the network's modules by name.
        layers: the names of all convolutions and linear layers, and of modules with attention, whose units are heads:
            those first that run, in the order they run.
        calls: name of each convolution or linear layer that runs as an operation of its own -> the nodes that call it.
        attentions: name of each module with attention -> where its heads are.

    Raises:
        ShapPruneError: the network cannot be traced, fails on the example, or changes it in each pass.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.graph.unit_graph import UnitGraph
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2))
        >>> graph = UnitGraph(model, torch.rand(1, 1, 8, 8))
        >>> graph.units_of("0")
        4
        >>> site = graph.site("0", "activation")
        >>> str(site.target), str(graph.past_pooling(site).target)  # the ReLU and the pooling
        ('1', '2')
    """

    def __init__(self, model: nn.Module, example: Tensor, traced: fx.GraphModule | None = None):
        given = example.clone()
        self.traced = trace(model, given) if traced is None else traced
        self.shapes, self.outputs = node_shapes(self.traced, given)
        if not given.is_inference() and given._version:
            again = given.clone()
            node_shapes(self.traced, again)
            if not again.equal(given):
                raise ShapPruneError(
                    f"{type(model).__name__} changes the images that it is given, so they are others in the next pass;"
                    " let it work on a copy, x = x.clone()"
                )
        self.modules = dict(model.named_modules()) | recorded_layers(self.traced)
        self.attentions = find_attentions(self.traced.graph.nodes, self.shapes)
        self.modules |= {name: self.modules[each.name] for name, each in self.attentions.items()}
        self.calls: dict[str, list[fx.Node]] = {}
        running = []
        for node in self.traced.graph.nodes:
            if node.op == "call_module" and self._is_layer(str(node.target)):
                self.calls.setdefault(str(node.target), []).append(node)
                running.append(str(node.target))
            running += [name for name, each in self.attentions.items() if each.node is node]
        found = [name for name, module in self.modules.items() if isinstance(module, LAYERS)]
        self.layers = list(dict.fromkeys([*running, *found]))
        self._images, self._few = len(example), example[:2]

    @cached_property
    def company(self) -> Company:
        """What follows the number of images."""
        return Company(self.traced, self._few)

    @cached_property
    def _constants(self) -> set[fx.Node]:
        return constants(self.traced.graph.nodes)

    @cached_property
    def has_heads(self) -> bool:
        """Whether the network has heads that it uses in training only."""
        return trace_heads(self.modules[""], self.traced, self._few) is not None

    def _is_layer(self, name: str) -> bool:
        return isinstance(self.modules[name], LAYERS) and keeps_forward(self.modules[name])

    def is_depthwise(self, name: str) -> bool:
        """Whether layer ``name`` filters each channel by itself, so that its units are those of the layer before."""
        return is_depthwise(self.modules[name])

    def units_of(self, name: str) -> int:
        """How many units, channels, neurons or heads, layer ``name`` has."""
        if name in self.attentions:
            return self.attentions[name].units
        module = self.modules[name]
        return int(module.out_features if isinstance(module, nn.Linear) else module.out_channels)

    def require(self, *names: str) -> None:
        """Raise unless all of these are layers of the network, whatever can be done with them."""
        for name in names:
            if name not in self.layers:
                raise unknown("layer", name, self.layers)

    def runs(self, name: str) -> bool:
        """Whether a layer runs in eval mode, unlike heads that are used in training only."""
        return name in self.calls or not keeps_forward(self.modules[name])

    def numbers_of(self, node: fx.Node) -> int:
        """How many numbers a value has for one image; all that it has if it is the same for all images."""
        shape = self.shapes[node]
        return shape.numel() // (1 if node in self._constants else self._images)

    def at_once(self, most: int) -> int:
        """How many images to run together, at most so many, so that no value has many more than `_LARGEST` numbers."""
        return max(2, min(most, _LARGEST // max(self.numbers_of(node) for node in self.shapes)))

    def layout(self, name: str) -> Layout:
        """Where the units of layer ``name`` lie at its site.

        Raises:
            ShapPruneError: as `start`.
        """
        shape = self.shapes[self.start(name)]
        rows = shape[0] // self._images
        if name in self.attentions:
            return self.attentions[name].layout(rows)
        return Layout(-1, rows=rows) if isinstance(self.modules[name], nn.Linear) and len(shape) > 2 else Layout()

    def on_tokens(self, name: str) -> bool:
        """Whether a layer is a linear one on tokens, whose units lie on the last axis."""
        return name not in self.attentions and self.layout(name).axis == -1

    def is_cut_here(self, name: str) -> bool:
        """Whether units of a layer are followed here, as heads and neurons of tokens are, and not by Torch-Pruning."""
        return name in self.attentions or self.on_tokens(name)

    def start(self, name: str) -> fx.Node:
        """The node that calls layer ``name``.

        Raises:
            ShapPruneError: there is no such layer, it does not run by itself, it is used more than once, it does not
                see the images, or its output is no [N, units, ...] of a convolution, no [N, ..., units] of a linear
                layer, no [N, heads, ...].
        """
        self.require(name)
        if name in self.attentions:
            return self._attending(self.attentions[name])
        if name not in self.calls:
            raise ShapPruneError(self._why_not_called(name))
        if len(self.calls[name]) > 1:
            raise ShapPruneError(
                f"layer {name!r} is used {len(self.calls[name])} times in one pass, so its units have no one site"
            )
        (node,) = self.calls[name]
        if node in self._constants:
            raise ShapPruneError(f"layer {name!r} puts out the same for all images")
        module, shape = self.modules[name], self.shapes[node]
        linear = isinstance(module, nn.Linear)
        tokens = linear and len(shape) > 2
        axes, rows = len(shape), shape[0] / self._images
        if not (rows.is_integer() if tokens else axes == places_of(module) + 2 and rows == 1):
            kind = "linear layer" if linear else "convolution"
            named = ["images", "...", "units"] if linear else ["images", "units", *["positions"] * places_of(module)]
            raise ShapPruneError(
                f"{kind} {name!r} puts out {tuple(shape)} for {self._images} images, only [{', '.join(named)}] is"
                " supported"
            )
        return node

    def _attending(self, attention: Attention) -> fx.Node:
        rows = self.shapes[attention.node][0]
        if rows == 0 or rows % self._images:
            raise ShapPruneError(
                f"attention {attention.name!r} puts out {tuple(self.shapes[attention.node])} for {self._images} images,"
                " only [images, heads, tokens, numbers] is supported"
            )
        return attention.node

    def _why_not_called(self, name: str) -> str:
        """Why a layer is no operation of the network's graph."""
        if not keeps_forward(self.modules[name]):
            return f"layer {name!r} is a {type(self.modules[name]).__name__} with a forward of its own"
        for node in self.traced.graph.nodes:
            if node.op == "call_module" and name.startswith(f"{node.target}."):
                return f"layer {name!r} runs inside {node.target!r}, a {type(self.modules[node.target]).__name__}"
        return f"layer {name!r} does not run in eval mode"

    def site(self, name: str, site: str) -> fx.Node:
        """The value in which a unit of layer ``name`` is zeroed.

        Args:
            name: the layer.
            site: ``output``: the layer's output; ``norm``: behind the BatchNorm that follows it; ``activation``: behind
                the last normalisation, non-linearity or depthwise convolution that works on each unit by itself, so
                that zeroing a unit there equals removing it. A layer without one has the site before.

        Raises:
            ShapPruneError: an unknown site, or as `start`.
        """
        if site not in SITES:
            raise unknown("site", site, SITES)
        node = found = self.start(name)
        if name in self.attentions:
            return node
        axis = self.layout(name).axis
        while site != "output" and len(users := ignore_sizes(node.users)) == 1:
            (node,) = users
            meaning = self.meaning(node, axis)
            if meaning in (Meaning.ZERO, Meaning.ACTIVATION, Meaning.DEPTHWISE) and site == "norm":
                break
            if meaning in (Meaning.NORM, Meaning.ZERO, Meaning.ACTIVATION, Meaning.DEPTHWISE):
                found = node
                if site == "norm":
                    break
            elif meaning is not Meaning.POOLING:
                break
        return found

    def norm_of(self, name: str) -> nn.modules.batchnorm._BatchNorm | None:
        """The BatchNorm that follows layer ``name``, before any non-linearity, or None."""
        node = self.site(name, "norm")
        module = self.modules[str(node.target)] if node.op == "call_module" else None
        return module if isinstance(module, nn.modules.batchnorm._BatchNorm) else None

    def norm_behind(self, name: str) -> str | None:
        """The BatchNorm with running statistics that alone reads the outputs of layer ``name``, or None.

        Its running mean can take what the layer lacks if it has no bias.
        """
        (node,) = self.calls[name]
        users = ignore_sizes(node.users)
        if len(users) != 1 or users[0].op != "call_module":
            return None
        norm = str(users[0].target)
        module, linear = self.modules[norm], isinstance(self.modules[name], nn.Linear)
        if not is_plain_norm(module) or module.running_mean is None:
            return None
        calls = sum(node.op == "call_module" and node.target == norm for node in self.traced.graph.nodes)
        return norm if calls == 1 and (not linear or len(self.shapes[node]) == 2) else None

    def is_tied(self, name: str) -> bool:
        """Whether another module has a parameter of layer ``name`` too, as an embedding may have a classifier's."""
        return any(self._uses[id(each)] > 1 for each in self.modules[name].parameters())

    @cached_property
    def _uses(self) -> Counter[int]:
        """How many modules have a parameter, by its identity."""
        parameters = (each for module in self.modules[""].modules() for each in module._parameters.values())
        return Counter(id(each) for each in parameters if each is not None)

    def takes_intercept(self, name: str) -> bool:
        """Whether layer ``name`` has a bias, or a BatchNorm behind it whose running mean can take one."""
        return getattr(self.modules[name], "bias", None) is not None or self.norm_behind(name) is not None

    def past_pooling(self, site: fx.Node, axis: int = 1) -> fx.Node:
        """The last value behind a site with only pooling and dropout between.

        A gate of 0 or more on a unit may be applied there instead, because pooling works on each unit by itself and
        commutes with the gate. There are fewer numbers. And the gradient in a closed gate is right: before a
        max-pooling all positions of a closed unit tie at 0, and autograd picks one of them instead of the largest.
        """
        while len(users := ignore_sizes(site.users)) == 1 and self.meaning(users[0], axis) is Meaning.POOLING:
            (site,) = users
        return site

    def meaning(self, node: fx.Node, axis: int = 1) -> Meaning:
        """What an operation does to units that lie on an axis of its inputs, 1 or -1."""
        if node.op == "output":
            return Meaning.OUTPUT
        module = self.modules[str(node.target)] if node.op == "call_module" else None
        meaning = meaning_of_function(node) if module is None else meaning_of_module(module)
        if axis == -1:
            return meaning if keeps_last(node, meaning, self.shapes, module) else Meaning.OTHER
        if module is not None and meaning not in (Meaning.POOLING, Meaning.FLATTEN):
            return meaning  # units of such modules lie on the second axis, whatever their shapes
        return meaning if keeps_units(node, meaning, self.shapes, module) else Meaning.OTHER
