"""Recipes: how a network is trained, as plain data. Importing this module does not import torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal

from shapprune.core.errors import ShapPruneError
from shapprune.core.options import Option, descriptions, option, settle

_LIMITS: dict[str, dict[str, float]] = {
    "epochs": {"minimum": 0},
    "batch": {"minimum": 1},
    "lr": {"above": 0},
    "momentum": {"minimum": 0, "below": 1},
    "weight_decay": {"minimum": 0},
    "milestones": {"minimum": 1},
    "gamma": {"above": 0, "maximum": 1},
    "warmup": {"minimum": 0},
    "label_smoothing": {"minimum": 0, "below": 1},
    "patience": {"minimum": 0},
}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: the keys of ``train`` in the configuration.

    Attributes:
        epochs: Passes through the training images; 0 leaves the network untrained.
        batch: Images in a batch.
        optimizer: What changes the weights at each step.
        lr: Learning rate, at its highest where there is a schedule.
        momentum: Momentum of ``sgd``; the others have none.
        nesterov: Whether the momentum of ``sgd`` is Nesterov's.
        weight_decay: Weight decay of all parameters.
        schedule: How the learning rate changes. ``cosine`` falls to zero at the end; ``step`` is multiplied by
            ``gamma`` after each of the ``milestones``; ``onecycle`` rises from a 25th in the first 30 % of the steps
            and falls to zero, both on half a cosine.
        milestones: Numbers of epochs after which the schedule ``step`` multiplies the learning rate by ``gamma``.
        gamma: Factor of the schedule ``step``.
        warmup: Epochs in which the learning rate first rises linearly from zero.
        label_smoothing: Share of the label that is spread over all classes.
        augment: Random changes of the training images, in this order (`shapprune.networks.augment`).
        patience: Epochs without a better validation result after which training ends; 0 trains them all.

    Raises:
        ShapPruneError: an option out of bounds, or two that do not fit together.

    Examples:
        >>> from shapprune.networks.recipe import Recipe
        >>> recipe = Recipe(epochs=2, lr=0.1, schedule="cosine")
        >>> [round(recipe.learning_rate(step, steps=2), 4) for step in range(4)]
        [0.1, 0.0854, 0.05, 0.0146]
    """

    epochs: int
    batch: int = 64
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "step", "onecycle"] = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup: int = 0
    label_smoothing: float = 0.0
    augment: tuple[Literal["flip", "vflip", "crop", "shift", "rotate"], ...] = ()
    patience: int = 0

    def __post_init__(self) -> None:
        settle(recipe_options(), vars(self), "a recipe")
        for name, problem in conflicts(vars(self)):
            raise ShapPruneError(f"option {name!r} of a recipe: {problem}")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Recipe:
        """The recipe of a mapping, such as ``train`` in the configuration.

        Raises:
            ShapPruneError: an unknown option, no ``epochs``, or an option out of bounds.
        """
        values: dict[str, Any] = settle(recipe_options(), options, "a recipe")
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**values)

    def learning_rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0 through all epochs of ``steps`` steps each."""
        total, warm = self.epochs * steps, self.warmup * steps
        if step < warm:
            return self.lr * (step + 1) / warm
        done = (step - warm) / max(total - warm, 1)
        if self.schedule == "cosine":
            return self.lr * _half_cosine(done)
        if self.schedule == "onecycle":
            return self.lr * (_half_cosine((done - 0.3) / 0.7) if done >= 0.3 else 1 - 0.96 * _half_cosine(done / 0.3))
        if self.schedule == "step":
            return self.lr * self.gamma ** sum(step >= epoch * steps for epoch in self.milestones)
        return self.lr


def recipe_options() -> dict[str, Option]:
    """The options of a recipe: the fields of `Recipe` with their bounds and descriptions."""
    about = descriptions(Recipe.__doc__, "Attributes")
    found = {
        field.name: option(
            str(field.type),
            ... if field.default is MISSING else field.default,
            about.get(field.name, ""),
            _LIMITS.get(field.name, {}),
        )
        for field in fields(Recipe)
    }
    return {name: each for name, each in found.items() if each is not None}


def conflicts(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The options of a recipe that do not fit the others, each with the end of a sentence about it."""
    epochs, warmup = recipe.get("epochs", math.inf), recipe["warmup"]
    if recipe["nesterov"] and not recipe["momentum"]:
        yield "nesterov", "true needs a momentum above 0"
    if recipe["schedule"] == "step" and not recipe["milestones"]:
        yield "milestones", "is empty, but the schedule 'step' needs at least one epoch"
    for milestone in recipe["milestones"]:
        if milestone >= epochs:
            yield "milestones", f"{milestone} is not below the {epochs} epochs of the training"
    if warmup and warmup >= epochs:
        yield "warmup", f"{warmup} is not below the {epochs} epochs of the training"


def _half_cosine(done: float) -> float:
    """From 1 to 0 as ``done`` goes from 0 to 1."""
    return (1 + math.cos(math.pi * done)) / 2
