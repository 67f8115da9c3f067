"""What the operations of a network's graph do to units, told from their types and names."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch._ops import OpOverload

from shapprune.networks.resizing import is_transposed

_IN_PLACE = ("iadd", "isub", "imul", "itruediv", "iand", "ior")
LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


class Meaning(StrEnum):
    """What an operation does to units."""

    NORM = "norm"  # a BatchNorm
    ZERO = "zero"  # a non-linearity that turns 0 into 0
    ACTIVATION = "activation"  # another non-linearity
    POOLING = "pooling"  # pooling, padding, dropout or nothing: each unit by itself
    FLATTEN = "flatten"  # all positions of a unit side by side
    DEPTHWISE = "depthwise"  # a convolution of each unit by itself
    ADD = "add"  # a sum of values of the same shape
    SCALE = "scale"  # a product of values of the same units
    JOIN = "join"  # the units of several values side by side
    MIXES = "mixes"  # an ordinary layer: each of its units depends on all
    OUTPUT = "output"  # the network's output
    OTHER = "other"  # unknown


_MODULES: dict[Meaning, tuple[type[nn.Module], ...]] = {
    Meaning.NORM: (nn.modules.batchnorm._BatchNorm,),
    Meaning.ZERO: (
        *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
        *(nn.Hardswish, nn.Tanh, nn.Hardtanh, nn.Softsign, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink),
    ),
    Meaning.ACTIVATION: (nn.Sigmoid, nn.Hardsigmoid, nn.LogSigmoid, nn.Softplus),
    Meaning.POOLING: (
        nn.modules.pooling._MaxPoolNd,
        nn.modules.pooling._AvgPoolNd,
        nn.modules.pooling._AdaptiveAvgPoolNd,
        nn.modules.pooling._AdaptiveMaxPoolNd,
        nn.modules.dropout._DropoutNd,
        *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.modules.padding._CircularPadNd),
        *(nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd),
        nn.Identity,
    ),
    Meaning.FLATTEN: (nn.Flatten,),
}
_FUNCTIONS: dict[Meaning, set[str]] = {
    Meaning.ZERO: {
        *("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu"),
        *("mish", "hardswish", "tanh", "hardtanh", "softsign"),
    },
    Meaning.ACTIVATION: {"sigmoid", "hardsigmoid", "logsigmoid", "softplus"},
    Meaning.NORM: {"batch_norm"},
    Meaning.POOLING: {
        *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
        *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d"),
        *("adaptive_max_pool2d", "adaptive_max_pool3d", "_max_pool2d", "dropout", "dropout2d", "feature_dropout"),
        *("contiguous", "mean", "amax"),
        *("stochastic_depth", "pad"),
    },
    Meaning.FLATTEN: {"flatten", "view", "reshape", "squeeze"},
    Meaning.ADD: {"add", "iadd", "sub", "isub"},
    Meaning.SCALE: {"mul", "imul"},
    Meaning.JOIN: {"cat", "concat"},
}


def is_depthwise(module: nn.Module) -> bool:
    """Whether a convolution filters each channel by itself, so that its units are those of the layer before."""
    return isinstance(module, LAYERS[:3]) and 1 < module.groups == module.in_channels == module.out_channels


def places_of(module: nn.Module) -> int:
    """How many axes of positions the units of a convolution or linear layer have."""
    return len(module.kernel_size) if isinstance(module, LAYERS[:3]) else 0


def keeps_forward(module: nn.Module) -> bool:
    """Whether a convolution, linear layer or other known module does in its forward pass what torch's own class does.

    Examples:
        >>> from torch import nn
        >>> from shapprune.graph.operations import keeps_forward
        >>> class Named(nn.Linear):
        ...     pass
        >>> class Doubled(nn.Linear):
        ...     def forward(self, x):
        ...         return 2 * super().forward(x)
        >>> keeps_forward(Named(3, 2)), keeps_forward(Doubled(3, 2))
        (True, False)
    """
    kinds = (*LAYERS, *(kind for some in _MODULES.values() for kind in some))
    own = next((each for each in type(module).__mro__ if each.__module__.startswith("torch.nn.modules.")), nn.Module)
    return issubclass(own, kinds) and not any(
        name in vars(module) or getattr(type(module), name, None) is not getattr(own, name, None)
        for name in ("forward", "_conv_forward", "__call__")
    )


def is_own_activation(module: nn.Module) -> bool:
    """Whether a module is one of the non-linearities that the package transformers has of its own."""
    return type(module).__module__ == "transformers.activations" and not any(True for _ in module.parameters())


def has_own_weights(module: nn.Module) -> bool:
    """Whether weight and bias of a layer are parameters of its own, not computed from others in each pass."""
    return all(name in module._parameters for name in ("weight", "bias"))


def is_layer(module: nn.Module) -> bool:
    """Whether a module is a convolution or a linear layer."""
    return isinstance(module, LAYERS) or is_transposed(module)


def weight_of(module: nn.Module) -> Tensor:
    """The weight of a convolution or linear layer, [units, ...], without its history, also where it is computed."""
    assert isinstance(module.weight, Tensor)
    return module.weight.detach().t() if is_transposed(module) else module.weight.detach()


def is_norm_act(module: nn.Module) -> bool:
    """Whether a module is a BatchNorm with a non-linearity behind it, as timm has it, `BatchNormAct2d` for one."""
    own = type(module).__module__.startswith("timm.") and type(module).__name__.startswith("BatchNormAct")
    return own and isinstance(module, nn.modules.batchnorm._BatchNorm)


def is_plain_norm(module: nn.Module) -> bool:
    """Whether a module is a BatchNorm and nothing else, so that what it does is linear."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and not is_norm_act(module)


def works_in_place(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether an operation changes one of its inputs.

    Args:
        node: the operation.
        modules: of the network, by name.
    """
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    name = name_of(node)
    operator = getattr(node.target, "__module__", "") == "_operator" and name in _IN_PLACE
    given = bool(node.kwargs.get("inplace")) or "out" in node.kwargs
    return node.op.startswith("call") and (operator or (name.endswith("_") and not name.endswith("__")) or given)


def leave_out_unused(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> None:
    """Leave out what a network keeps for others to look at, and its outputs do not depend on."""
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output") and not works_in_place(node, modules):
            graph.erase_node(node)


def meaning_of_module(module: nn.Module) -> Meaning:
    """What a module does to units.

    Examples:
        >>> from torch import nn
        >>> from shapprune.graph.operations import meaning_of_module
        >>> print(meaning_of_module(nn.ReLU()), meaning_of_module(nn.Linear(3, 2)), meaning_of_module(nn.LSTM(3, 2)))
        zero mixes other
    """
    if is_own_activation(module):
        return Meaning.ACTIVATION if module(torch.zeros(1)).any() else Meaning.ZERO
    if is_norm_act(module):
        return Meaning.NORM
    if not keeps_forward(module):
        return Meaning.OTHER
    if is_depthwise(module):
        return Meaning.DEPTHWISE
    if isinstance(module, LAYERS):
        return Meaning.MIXES if getattr(module, "groups", 1) == 1 else Meaning.OTHER
    return next((meaning for meaning, kinds in _MODULES.items() if isinstance(module, kinds)), Meaning.OTHER)


def meaning_of_function(node: fx.Node) -> Meaning:
    """What a function or method does to units, by its name alone: whether the shapes fit is not looked at."""
    name = name_of(node).removesuffix("_")  # in place or not
    return next((meaning for meaning, names in _FUNCTIONS.items() if name in names), Meaning.OTHER)


def name_of(node: fx.Node) -> str:
    """The name of the function or method that a node calls; max-poolings have it in torch.nn.functional alone."""
    if isinstance(node.target, str):
        return node.target
    if isinstance(node.target, OpOverload):  # aten::add.Tensor
        return node.target._schema.name.partition("::")[2]
    name = getattr(node.target, "__name__", "")
    return name if name != "boolean_dispatch" else next(key for key, each in vars(F).items() if each is node.target)
