"""The one table of criteria: what each is called, which function computes it, and which options it takes.

This module imports nothing heavy, so that a workflow can be planned and a configuration checked without torch.
`shapprune.criteria.scoring.score` looks the functions up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shapprune.core.errors import ShapPruneError, unknown

# The keys of a criterion in a configuration that are not options of its method.
ENTRY_KEYS = ("method", "trials", "aggregates")
# Those whose standard errors are always told, whatever the configuration asks for.
AGGREGATES = ("mean", "abs", "mean+2std")


@dataclass(frozen=True)
class Option:
    """One option of a criterion: its type, its default and what is allowed."""

    kind: type
    default: object
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    about: str = ""
    each: Option | None = None  # of a list

    def check(self, value: object) -> str | None:
        """What is wrong with ``value``, as the tail of a sentence, or None."""
        right = isinstance(value, (int, float)) if self.kind is float else isinstance(value, self.kind)
        if not right or (isinstance(value, bool) and self.kind is not bool):
            return f"{value!r} is not of type {self.kind.__name__}"
        if self.each is not None:
            return next((wrong for one in value if (wrong := self.each.check(one))), None)  # type: ignore[attr-defined]
        if self.choices and value not in self.choices:
            return f"{value!r} is not one of {', '.join(self.choices)}"
        if self.minimum is not None and not value >= self.minimum:  # type: ignore[operator]
            return f"{value!r} is below {self.minimum:g}"
        if self.maximum is not None and not value <= self.maximum:  # type: ignore[operator]
            return f"{value!r} is above {self.maximum:g}"
        return None


@dataclass(frozen=True)
class Criterion:
    """A criterion: a function of a LayerGame (and options) that returns UnitScores.

    Attributes:
        function: where it lives, ``module:name``.
        about: one line for people, with the source.
        options: its options by name.
        random: whether it draws at random, so that trials differ by more than their images.
        shapley: whether its scores are estimates of Shapley values, or of a part of them.
        walks: whether it costs many evaluations, so that the workflow gives each layer a job (and a GPU) of its own.
        gradient: whether it needs the gradient of the payoff.
        resumes: whether it comes in draws or stages and goes on from a checkpoint when it was cut off.
        max_units: the widest layer it can do, if there is a limit.
        batchnorm: whether it needs a BatchNorm behind the layer.
        payoffs: those it is defined for, if not for all.
    """

    function: str
    about: str
    options: Mapping[str, Option] = field(default_factory=dict)
    random: bool = False
    shapley: bool = False
    walks: bool = False
    gradient: bool = False
    resumes: bool = False
    max_units: int | None = None
    batchnorm: bool = False
    payoffs: tuple[str, ...] = ()


_HEURISTICS = "shapprune.criteria.heuristics"
_RANKINGS = "shapprune.criteria.rankings"

CATALOG: dict[str, Criterion] = {
    "random": Criterion(f"{_HEURISTICS}:random", "a uniform random number for each unit", random=True),
    "weight-norm": Criterion(
        f"{_HEURISTICS}:weight_norm",
        "norm of the unit's incoming weights, bias left out (Li et al. 2017)",
        {"norm": Option(str, "l1", choices=("l1", "l2"), about="which norm")},
    ),
    "apoz": Criterion(
        f"{_HEURISTICS}:apoz",
        "share of positive activations, one minus the average percentage of zeros (Hu et al. 2016)",
    ),
    "sensitivity": Criterion(
        f"{_HEURISTICS}:sensitivity",
        "absolute gradient of the payoff in the unit's activation, summed over positions",
        gradient=True,
    ),
    "taylor": Criterion(
        f"{_HEURISTICS}:taylor",
        "first-order estimate of the rise of the loss when the unit leaves (Molchanov et al. 2017)",
        {"signed": Option(bool, False, about="keep the sign instead of taking the absolute value for each example")},
        gradient=True,
    ),
    "fisher": Criterion(
        f"{_RANKINGS}:fisher",
        "half the square of gradient times activation, summed over positions (Theis et al. 2018)",
        gradient=True,
    ),
    "batchnorm-scale": Criterion(
        f"{_RANKINGS}:batchnorm_scale",
        "absolute scale of the unit in the BatchNorm that follows the layer (Liu et al. 2017)",
        batchnorm=True,
    ),
    "fpgm": Criterion(
        f"{_RANKINGS}:fpgm",
        "sum of the distances from the unit's incoming weights to those of all others (He et al. 2019)",
    ),
    "hrank": Criterion(f"{_RANKINGS}:hrank", "matrix rank of the unit's feature map (Lin et al. 2020)"),
    "snip": Criterion(
        f"{_RANKINGS}:snip",
        "absolute gradient of the loss times weight, summed over the unit's incoming weights (Lee et al. 2019)",
        gradient=True,
    ),
    "grasp": Criterion(
        f"{_RANKINGS}:grasp",
        "weight times Hessian times gradient, summed over the unit's incoming weights (Wang et al. 2020)",
        {"temperature": Option(float, 200.0, minimum=0.001, about="what outputs are divided by")},
        gradient=True,
        payoffs=("loss",),
    ),
    "synflow": Criterion(
        f"{_RANKINGS}:synflow",
        "flow of absolute values through the unit's incoming weights, without images (Tanaka et al. 2020)",
    ),
    "leave-one-out": Criterion(
        f"{_HEURISTICS}:leave_one_out",
        "rise of the loss when the unit alone leaves the whole layer",
        walks=True,
    ),
    "exact": Criterion(
        "shapprune.shapley.exact:exact",
        "Shapley value by enumeration of all coalitions",
        shapley=True,
        walks=True,
        resumes=True,
        max_units=20,
    ),
    "partial": Criterion(
        "shapprune.shapley.partial:partial",
        "the Shapley value's part from coalitions that lack, or hold, few units (Adamczewski et al. 2024)",
        {
            "size": Option(int, 1, minimum=1, about="the most units that a coalition lacks or holds"),
            "end": Option(str, "full", choices=("full", "empty"), about="the end that the coalitions are near to"),
        },
        shapley=True,
        walks=True,
        resumes=True,
    ),
    "permutation": Criterion(
        "shapprune.shapley.permutation:permutation",
        "Shapley value by removal along random orders (Castro et al. 2009; Ancona et al. 2020)",
        {
            "permutations": Option(int, 5, minimum=1, about="random orders for each example"),
            "shared": Option(bool, False, about="the same orders for all examples, as TorchPruner has them"),
            "antithetic": Option(bool, False, about="walk every other order as the reverse of the one before"),
            "settle": Option(
                list,
                [],
                about="stop when which units leave at these ratios is decided",
                each=Option(float, 0.5, minimum=0.001, maximum=0.999),
            ),
            "settle_by": Option(str, "mean", about="the aggregate that orders them there"),
            "depth": Option(float, 1.0, minimum=0.01, maximum=1, about="share of each order that is walked"),
        },
        random=True,
        shapley=True,
        walks=True,
        resumes=True,
    ),
    "regression": Criterion(
        "shapprune.shapley.regression:regression",
        "Shapley value by regression of the payoff on the units kept (Lundberg and Lee 2017; Musco and Witter 2025)",
        {
            "coalitions": Option(int, 512, minimum=1, about="random coalitions for each example; all, if they suffice"),
            "sampling": Option(
                str, "leverage", choices=("uniform", "kernel", "leverage"), about="how coalitions are drawn"
            ),
            "weighting": Option(str, "kernel", choices=("kernel", "none"), about="what each of them counts"),
            "constrained": Option(bool, True, about="the values sum to what all units together are worth"),
            "paired": Option(bool, True, about="every coalition comes with its complement"),
            "shared": Option(bool, False, about="the same coalitions for all examples"),
            "l1": Option(float, 0.0, minimum=0, about="weight of a lasso, with `constrained: false` only"),
            "l2": Option(float, 0.0, minimum=0, about="weight of a ridge"),
        },
        random=True,
        shapley=True,
        walks=True,
        resumes=True,
    ),
    "coalition-gradient": Criterion(
        "shapprune.shapley.gradient:coalition_gradient",
        "Shapley value by gradients of the payoff in the units' gates at random coalitions",
        {
            "points": Option(int, 16, minimum=1, about="coalitions for each example"),
            "low": Option(float, 0.0, minimum=0, maximum=1, about="least share of units in a coalition"),
            "high": Option(float, 1.0, minimum=0, maximum=1, about="greatest share of units in a coalition"),
            "paired": Option(bool, False, about="every other coalition is the complement of the one before"),
        },
        random=True,
        shapley=True,
        walks=True,
        gradient=True,
        resumes=True,
    ),
    "shrunk": Criterion(
        "shapprune.shapley.shrunk:shrunk",
        "Shapley value by permutations, shrunk towards the path gradient as far as their noise asks for",
        {
            "permutations": Option(int, 2, minimum=1, about="random orders for each example"),
            "points": Option(int, 8, minimum=1, about="points on the path"),
            "antithetic": Option(bool, True, about="walk every other order as the reverse of the one before"),
        },
        random=True,
        shapley=True,
        walks=True,
        gradient=True,
        resumes=True,
    ),
    "rescored": Criterion(
        "shapprune.criteria.rescored:rescored",
        "place in the removal order when the layer is scored again in stages, with the lowest units gone",
        {
            "of": Option(str, "coalition-gradient", about="the criterion that scores"),
            "stages": Option(int, 16, minimum=1, about="how many times it scores"),
            "aggregate": Option(str, "mean+2std", about="how its scores of images become one"),
            "options": Option(dict, {}, about="its own options"),
        },
        random=True,
        walks=True,
        resumes=True,
    ),
    "path-gradient": Criterion(
        "shapprune.shapley.gradient:path_gradient",
        "gradients of the payoff in the units' gates as they open together (Aumann-Shapley value)",
        {"points": Option(int, 8, minimum=1, about="points on the path")},
        shapley=True,
        walks=True,
        gradient=True,
        resumes=True,
    ),
}


def lookup(name: str) -> Criterion:
    """The criterion called ``name``; ``_`` and ``-`` count alike.

    Raises:
        ShapPruneError: there is none of that name; the nearest is offered.
    """
    found = CATALOG.get(str(name).replace("_", "-"))
    if found is None:
        raise unknown("criterion", name, CATALOG)
    return found


def check_options(name: str, options: Mapping[str, object]) -> dict[str, object]:
    """The options of criterion ``name`` with its defaults filled in.

    Raises:
        ShapPruneError: an option it does not take, or a value that is not allowed.
    """
    criterion = lookup(name)
    for key, value in options.items():
        if key not in criterion.options:
            raise unknown(f"option of {name}", key, criterion.options or ["none"])
        if wrong := criterion.options[key].check(value):
            raise ShapPruneError(f"option {key!r} of {name}: {wrong}")
    settled = {key: options.get(key, option.default) for key, option in criterion.options.items()}
    if "of" in settled:  # a criterion made of another
        check_options(str(settled["of"]), settled["options"])  # type: ignore[arg-type]
    return settled


def options_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the method in an entry of the configuration's ``criteria``."""
    return {key: value for key, value in entry.items() if key not in ENTRY_KEYS}
