"""A network's graph with what each operation means for units: where a unit is zeroed, and what it goes into next."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.graph.cut import ignore_sizes, node_shapes, trace

SITES = ("output", "norm", "activation")
LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)

_NORMS = (nn.modules.batchnorm._BatchNorm,)
_POOLS = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.dropout._DropoutNd,
    nn.Identity,
)
# Element by element; those in the first row turn 0 into 0.
_ZERO_KEEPING = (
    *(
        nn.ReLU,
        nn.ReLU6,
        nn.LeakyReLU,
        nn.RReLU,
        nn.PReLU,
        nn.ELU,
        nn.CELU,
        nn.SELU,
        nn.GELU,
        nn.SiLU,
        nn.Mish,
    ),
    *(nn.Hardswish, nn.Tanh, nn.Hardtanh, nn.Softsign, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink),
)
_OTHER_ACTIVATIONS = (nn.Sigmoid, nn.Hardsigmoid, nn.LogSigmoid, nn.Softplus)

_FUNCTIONS = {
    "zero": {
        *(
            "relu",
            "relu_",
            "relu6",
            "leaky_relu",
            "leaky_relu_",
            "elu",
            "elu_",
            "celu",
            "selu",
            "gelu",
            "silu",
        ),
        *("mish", "hardswish", "tanh", "tanh_", "hardtanh", "softsign"),
    },
    "activation": {"sigmoid", "sigmoid_", "hardsigmoid", "logsigmoid", "softplus"},
    "norm": {"batch_norm"},
    "pass": {
        *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
        *("boolean_dispatch", "_max_pool2d", "dropout", "dropout2d", "feature_dropout"),
        *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "contiguous", "mean", "amax"),
        "stochastic_depth",
    },
    "flatten": {"flatten", "view", "reshape", "squeeze"},
    "add": {"add", "iadd", "add_", "sub", "isub"},
    "scale": {"mul", "imul", "mul_"},
    "join": {"cat", "concat"},
}


class NextLinear(NamedTuple):
    """The convolution or linear layer that a layer's units go into, and nothing else does.

    Attributes:
        module: that layer.
        norm: the BatchNorm that follows it at once, if any.
        node: the value behind both.
    """

    module: nn.Conv2d | nn.Linear
    norm: nn.modules.batchnorm._BatchNorm | None
    node: fx.Node


class UnitGraph:
    """The traced network with what each operation means for units.

    Attributes:
        traced: the graph module.
        shapes: shape of every tensor for the example.
        outputs: what the network returns for the example.
        calls: name of each convolution and linear layer -> the nodes that call it.
    """

    def __init__(self, model: nn.Module, example: Tensor):
        self.traced = trace(model)
        self.shapes, self.outputs = node_shapes(self.traced, example)
        self.modules = dict(model.named_modules())
        self.calls: dict[str, list[fx.Node]] = {}
        for node in self.traced.graph.nodes:
            if node.op == "call_module" and isinstance(self.modules[node.target], LAYERS):
                self.calls.setdefault(str(node.target), []).append(node)

    def is_depthwise(self, name: str) -> bool:
        """Whether the layer filters each channel by itself: its units are those of the layer before."""
        module = self.modules[name]
        return isinstance(module, LAYERS[:3]) and 1 < module.groups == module.in_channels == module.out_channels

    def units_of(self, name: str) -> int:
        """How many channels or neurons layer ``name`` puts out."""
        module = self.modules[name]
        return int(module.out_features if isinstance(module, nn.Linear) else module.out_channels)

    def start(self, name: str) -> fx.Node:
        """The node that calls layer ``name``.

        Raises:
            ShapPruneError: there is no such layer, it is used more than once, or its output is no [N, units, ...].
        """
        if name not in self.calls:
            raise unknown("layer", name, self.calls)
        if len(self.calls[name]) > 1:
            raise ShapPruneError(
                f"layer {name!r} is used {len(self.calls[name])} times in one pass, so its units have no one site"
            )
        (node,) = self.calls[name]
        if isinstance(self.modules[name], nn.Linear) and len(self.shapes[node]) != 2:
            raise ShapPruneError(
                f"linear layer {name!r} puts out {tuple(self.shapes[node])}, only [images, units] is supported"
            )
        return node

    def site(self, name: str, site: str) -> fx.Node:
        """The value in which a unit of layer ``name`` is zeroed.

        ``output``: what the layer puts out; ``norm``: after the BatchNorm that follows it; ``activation``: after the
        last normalisation, non-linearity or depthwise convolution that works on the units one by one, so that
        zeroing a unit there equals removing it. Where there is none, it is the site before.
        """
        if site not in SITES:
            raise unknown("site", site, SITES)
        node = found = self.start(name)
        while site != "output" and len(users := ignore_sizes(node.users)) == 1:
            (node,) = users
            what = self.meaning(node)
            if what in ("zero", "activation", "depthwise") and site == "norm":
                break
            if what in ("norm", "zero", "activation", "depthwise"):
                found = node
                if site == "norm":
                    break
            elif what != "pass":
                break
        return found

    def norm_of(self, name: str) -> nn.modules.batchnorm._BatchNorm | None:
        """The BatchNorm that follows layer ``name``, before any non-linearity, or None."""
        node = self.site(name, "norm")
        module = self.modules[str(node.target)] if node.op == "call_module" else None
        return module if isinstance(module, nn.modules.batchnorm._BatchNorm) else None

    def past_pooling(self, site: fx.Node) -> fx.Node:
        """The last value after a site that only pooling and dropout lie between.

        A gate >= 0 on a unit can as well be applied there: pooling works on each unit by itself and commutes with it.
        There are fewer numbers, and the gradient in a closed gate is right (before a max-pooling all positions of a
        closed unit tie at 0, and autograd picks one of them instead of the largest).
        """
        while len(users := ignore_sizes(site.users)) == 1 and self.meaning(users[0]) == "pass":
            (site,) = users
        return site

    def next_linear(self, gate: fx.Node) -> NextLinear | None:
        """The one layer that the units go into next, if it is linear in them and can be taken apart by units.

        Args:
            gate: the value that gates are applied to; only flattening and dropout may lie before the layer.
        """
        node, flattened = gate, False
        while len(users := ignore_sizes(node.users)) == 1:
            (node,) = users
            what = self.meaning(node)
            if what == "mixes":
                break
            if what not in ("pass", "flatten"):
                return None
            flattened = flattened or what == "flatten"
        else:
            return None
        module = self.modules[str(node.target)]
        if isinstance(module, nn.Conv2d):
            if module.padding_mode != "zeros" or isinstance(module.padding, str):
                return None
        elif not isinstance(module, nn.Linear) or (len(self.shapes[gate]) > 2 and not flattened):
            return None
        users = ignore_sizes(node.users)
        if len(users) == 1 and self.meaning(users[0]) == "norm" and users[0].op == "call_module":
            norm = self.modules[str(users[0].target)]
            if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.running_var is not None:
                return NextLinear(module, norm, users[0])
        return NextLinear(module, None, node)

    def meaning(self, node: fx.Node) -> str:
        """What an operation does to units: norm, zero (element-wise, 0 stays 0), activation (element-wise), pass
        (pooling, dropout), flatten, depthwise, add or scale (of tensors of the same channels), join (channels side by
        side), mixes (an ordinary layer), output or other.
        """
        if node.op == "output":
            return "output"
        if node.op == "call_module":
            module = self.modules[str(node.target)]
            if isinstance(module, LAYERS):
                if self.is_depthwise(str(node.target)):
                    return "depthwise"
                return "mixes" if getattr(module, "groups", 1) == 1 else "other"
            for what, kinds in (
                ("norm", _NORMS),
                ("zero", _ZERO_KEEPING),
                ("activation", _OTHER_ACTIVATIONS),
                ("pass", _POOLS),
                ("flatten", (nn.Flatten,)),
            ):
                if isinstance(module, kinds):
                    return what
            return "other"
        function = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        for what, names in _FUNCTIONS.items():
            if function in names or (function == "fn" and node.target in (F.max_pool2d, F.max_pool1d)):
                return what if self._keeps_units(node, what) else "other"
        return "other"

    def _keeps_units(self, node: fx.Node, what: str) -> bool:
        """Whether a function leaves units where they are: same channels, or all positions of each side by side."""
        inputs = [each for each in node.all_input_nodes if each in self.shapes]
        after = self.shapes.get(node)
        if not inputs or after is None or len(after) < 2:
            return False
        if what == "join":
            return bool((node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)) == 1)
        if what == "add":
            numbers = [each for each in (*node.args, *node.kwargs.values()) if not isinstance(each, fx.Node)]
            return not numbers and all(self.shapes[each] == after for each in inputs)
        if what == "scale":
            return all(len(self.shapes[each]) == len(after) and self.shapes[each][1] == after[1] for each in inputs)
        before = self.shapes[inputs[0]]
        if len(before) < 2 or before[0] != after[0]:
            return False
        if what == "flatten":
            return bool(after == before or (len(after) == 2 and after[1] == before[1:].numel()))
        return after[1] == before[1]
