"""The methods by name: those of this project, its parts one at a time, and the rules of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shapprune.core.errors import ShapPruneError, suggestion
from shapprune.workflow.stages.stage import functions_of

_OURS, _LABELLED = "benchmarks.low_data.ours:Shrunk", "benchmarks.low_data.ours:ShrunkByLabels"
_TORCH_PRUNING = "benchmarks.low_data.torch_pruning:TorchPruning"
_BY_GRADIENTS = f"{_TORCH_PRUNING}ByGradients"
_L2 = {"criterion": "weight-norm", "options": {"norm": "l2"}}
_RESCORED = {"of": "coalition-gradient", "stages": 8, "options": {"points": 2, "low": 0.5}}
_COALITIONS = {"criterion": "coalition-gradient"}
# Images may be mirrored: all data sets of the benchmark are of things that look the same from both sides.
_CHANGES = ["flip", "shift"]


@dataclass(frozen=True)
class Method:
    """A method of the benchmark.

    Attributes:
        function: the function or class, ``package.module:name`` (see `benchmarks.low_data.accounting`).
        options: further arguments of it.
    """

    function: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def functions(self) -> tuple[str, ...]:
        """All entry points of its code."""
        if "criterion" not in self.options:
            return (self.function,)
        settings = {**self.options.get("options", {}), "method": self.options["criterion"]}
        return (self.function, *functions_of(settings))


def _ours(**how: Any) -> Method:
    """What this project does with choices of `shapprune.pruning.maker.How`; without distilling unless they say so."""
    return Method(_OURS, {"criterion": "reconstruction", "steps": 0, "augmentation": _CHANGES} | how)


def _scored(**how: Any) -> Method:
    """The same with a criterion that looks at labels."""
    return Method(_LABELLED, {"steps": 0, "augmentation": _CHANGES} | how)


_DISTILLED, _LONGER = {"steps": None}, {"steps": 2000}

METHODS: dict[str, Method] = {
    "reconstruction": _ours(),
    "distilled": _ours(**_DISTILLED),
    "distilled by 2000 steps": _ours(**_LONGER),
    "uniform": _ours(allocation="uniform"),
    "no repair": _ours(repair="none"),
    "batchnorm": _ours(repair="batchnorm"),
    "own target": _ours(sums=False),
    "no copies": _ours(copies=0),
    "random": _ours(criterion="random"),
    "l1": _ours(criterion="weight-norm"),
    "l2": _ours(**_L2),
    "taylor": _scored(criterion="taylor"),
    "coalition-gradient": _scored(**_COALITIONS),
    "rescored": _scored(criterion="rescored", options=_RESCORED),
    "l2 distilled": _ours(**_L2, **_DISTILLED),
    "l2 distilled by 2000 steps": _ours(**_L2, **_LONGER),
    "distilled alone": _ours(repair="none", **_DISTILLED),
    "l2 plain": _ours(**_L2, allocation="uniform", repair="none"),
    **{
        f"torch-pruning {importance}{ending}": Method(function, {"importance": importance, "repair": repair})
        for importance, function in (
            ("magnitude", _TORCH_PRUNING),
            ("taylor", _BY_GRADIENTS),
            ("hessian", _BY_GRADIENTS),
        )
        for ending, repair in (("", "batchnorm"), (" as it comes", "none"), (" repaired", "least-squares"))
    },
    "asym-in-change": Method("benchmarks.low_data.rivals:AsymInChange"),
    "channel-pruning": Method("benchmarks.low_data.rivals:ChannelPruning"),
}

# What the choices of `REFERENCE` are compared with, one at a time: the choice, and the method that differs in it.
REFERENCE = "reconstruction"
ABLATION = (
    ("selection", "l2"),
    ("selection", "taylor"),
    ("selection", "random"),
    ("allocation", "uniform"),
    ("target", "own target"),
    ("copies", "no copies"),
    ("repair", "batchnorm"),
    ("repair", "no repair"),
    ("distilling", "distilled"),
)


def find_method(text: str) -> tuple[str, Method]:
    """The name and the method of a word of the command line.

    Args:
        text: a name in `METHODS`, ``package.module:function``, or that under a name: ``NAME=package.module:function``.

    Raises:
        ShapPruneError: none of these.

    Examples:
        >>> from benchmarks.low_data.methods import find_method
        >>> find_method("mine=my_package:shrink")
        ('mine', Method(function='my_package:shrink', options={}))
    """
    name, equals, function = text.rpartition("=")
    if not equals:
        if text in METHODS:
            return text, METHODS[text]
        name = function
    if name in METHODS:
        raise ShapPruneError(f"{name!r} is the name of a method of the benchmark; give {function} another one")
    if ":" not in function:
        raise ShapPruneError(
            f"method {text!r} is neither package.module:function nor a known name{suggestion(text, METHODS)}"
        )
    return name, Method(function)
