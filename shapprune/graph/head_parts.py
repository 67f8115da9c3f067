"""What depends on attention heads: their parts in weights, found by what they have a say in.

A layout of weights is a matter of the network's code: queries, keys and values side by side or each with its own layer,
heads first or last, tables of biases with a column a head. So it is measured: with random weights in the module, each
head's queries, keys, values and scores have gradients in its own parts of the weights, and no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from shapprune.core.errors import ShapPruneError
from shapprune.graph.attention import Attention
from shapprune.graph.cut import ignore_sizes
from shapprune.graph.exporting import Transposed
from shapprune.graph.operations import Meaning
from shapprune.graph.parts import Dependent, Part
from shapprune.graph.tokens import parts_of_linear
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.modes import mode


def head_parts(graph: UnitGraph, name: str, example: Tensor) -> tuple[list[Part], Dependent]:
    """The parts of the weights that make the heads of a module's attention, and the layer that reads them.

    Args:
        graph: of the network.
        name: of the module.
        example: images, [N, ...].

    Raises:
        ShapPruneError: heads have no parts of their own, or what they put out goes elsewhere than into a linear layer.
    """
    attention = graph.attentions[name]
    with mode(graph.traced, training=False), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _writers(graph, attention, example), _reader(graph, name, example)


def _writers(graph: UnitGraph, attention: Attention, example: Tensor) -> list[Part]:
    prober = _Prober(graph.traced, f"{attention.name}.", attention.probes)
    with torch.enable_grad():
        probes = prober.probe(example)
        supports: list[list[Tensor]] = []  # of each unit, of each leaf: where it has a say
        for unit in range(attention.units):
            along = torch.stack([(each * torch.rand_like(each)).sum() for each in _own(probes, attention, unit)]).sum()
            found = torch.autograd.grad(along, list(prober.leaves.values()), retain_graph=True, allow_unused=True)
            supports.append([torch.zeros(0) if each is None else each != 0 for each in found])
    parts: dict[tuple[str, str], Part] = {}
    for leaf, masks in zip(prober.leaves, zip(*supports, strict=True), strict=True):
        if all(each.numel() for each in masks) and (where := _axis(masks)) is not None:
            module, _, name = leaf.rpartition(".")
            parts[module, name] = Part(module, name, *where)
    for part in list(parts.values()):
        if part.leaf == "weight" and part.module in graph.calls:
            # A bias may have no say, as that of the keys of Swin V2, and has a place all the same.
            own = parts_of_linear(graph, Dependent(part.module, False, part.places))
            parts |= {(each.module, each.leaf): each for each in own if own[0].axis == part.axis}
    if not parts:
        raise ShapPruneError("its heads have no weights of their own")
    return list(parts.values())


def _own(probes: list[Tensor], attention: Attention, unit: int) -> Iterator[Tensor]:
    """What of the probes belongs to a unit."""
    for each in probes:
        if each.shape[1] % attention.units == 0 and each.requires_grad:
            yield each.unflatten(1, (attention.units, -1))[:, unit]


def _axis(masks: tuple[Tensor, ...]) -> tuple[int, Tensor] | None:
    """The axis along which units have places of their own in a tensor, and the places."""
    for axis in range(masks[0].dim()):
        others = [at for at in range(masks[0].dim()) if at != axis]
        there = torch.stack([mask.any(dim=others) if others else mask for mask in masks])
        count = there.sum(1)
        if int(there.sum(0).max()) == 1 and int(count.min()) == int(count.max()) > 0:
            return axis, there.nonzero()[:, 1].reshape(len(masks), -1).cpu()
    return None


def _reader(graph: UnitGraph, attending: str, example: Tensor) -> Dependent:
    attention = graph.attentions[attending]
    chain, node = [], attention.node
    while len(users := ignore_sizes(node.users)) == 1:
        (node,) = users
        if node.op == "call_module" and str(node.target) in graph.calls:
            break
        chain.append(node)
    else:
        raise ShapPruneError(f"what its heads put out is used more than once, in {node.name!r}")
    name = str(node.target)
    if graph.meaning(node, axis=-1) is not Meaning.MIXES or len(graph.calls[name]) != 1:
        raise ShapPruneError(f"what its heads put out goes into {name!r}, which is no linear layer that runs once")
    runner = fx.Interpreter(graph.traced, garbage_collect_values=False)
    with torch.no_grad():
        runner.run(example.clone())
        layout = graph.layout(attending)
        whole = layout.split(torch.rand_like(runner.env[attention.node]) + 1)
        places = []
        for unit in range(attention.units):
            alone = torch.zeros_like(whole)
            alone[:, unit] = whole[:, unit]
            runner.env[attention.node] = layout.join(alone)
            for each in chain:
                runner.env[each] = runner.run_node(each)
            inputs = runner.env[node.all_input_nodes[0]]
            places.append((inputs != 0).flatten(0, -2).any(0).nonzero().flatten())
    if len({len(each) for each in places}) != 1 or sum(map(len, places)) != inputs.shape[-1]:
        raise ShapPruneError(f"{name!r} does not read each head by itself")
    return Dependent(name, True, torch.stack(places).cpu())


class _Prober(fx.Interpreter):
    """Runs a network with random weights in one module, as far as some values.

    Args:
        traced: the network.
        prefix: of the names of these weights.
        wanted: the values.

    Attributes:
        leaves: the random weights, by name.
    """

    def __init__(self, traced: fx.GraphModule, prefix: str, wanted: tuple[fx.Node, ...]):
        super().__init__(traced, garbage_collect_values=False)
        self._wanted, self._nodes = wanted, list(traced.graph.nodes)
        self.leaves: dict[str, Tensor] = {}
        for node in traced.graph.nodes:
            if node.op in ("get_attr", "call_module") and str(node.target).startswith(prefix):
                for name, tensor in self._tensors(node):
                    # Divided so that sums stay small: a sigmoid of large ones has no gradient.
                    self.leaves[name] = (torch.randn_like(tensor) / max(1, *tensor.shape[-1:]) ** 0.5).requires_grad_()

    def _tensors(self, node: fx.Node) -> Iterator[tuple[str, Tensor]]:
        """The parameters that an operation has, as the network has them."""
        if node.op == "get_attr":
            value = self.fetch_attr(str(node.target))
            if isinstance(value, nn.Parameter) and value.is_floating_point():
                yield str(node.target), value
            return
        module = self.module.get_submodule(str(node.target))
        for leaf, tensor in module.named_parameters():
            turned = isinstance(module, Transposed) and leaf == "weight"
            yield f"{node.target}.{leaf}", tensor.t() if turned else tensor

    def probe(self, images: Tensor) -> list[Tensor]:
        """The values."""
        last = max(self._wanted, key=self._nodes.index)
        self.args_iter = iter((images,))
        for node in self._nodes:
            self.env[node] = self.run_node(node)
            if node is last:
                break
        return [self.env[each] for each in self._wanted]

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "get_attr" and str(n.target) in self.leaves:
            return self.leaves[str(n.target)]
        prefix = f"{n.target}."
        own = {name.removeprefix(prefix): each for name, each in self.leaves.items() if name.startswith(prefix)}
        if n.op != "call_module" or not own:
            return super().run_node(n)
        module = self.module.get_submodule(str(n.target))
        if isinstance(module, Transposed):
            own["weight"] = own["weight"].t()
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        return functional_call(module, own, args, kwargs)
