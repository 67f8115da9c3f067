"""Recipes: how a network is trained, as plain data; known without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from shapprune.core.errors import ShapPruneError, unknown

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "cosine", "step", "onecycle")
AUGMENTATIONS = ("flip", "vflip", "crop", "rotate")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; names and defaults are those of ``train`` in the configuration.

    Attributes:
        epochs: passes through the training images; 0 leaves the network as it is.
        batch: images in a batch.
        optimizer: ``sgd``, ``adam`` or ``adamw``.
        lr: learning rate, at its highest where there is a schedule.
        momentum: of ``sgd``.
        nesterov: whether that momentum is Nesterov's.
        weight_decay: weight decay, of all parameters.
        schedule: ``constant``; ``cosine``, down to zero at the end; ``step``, times ``gamma`` after each of the
            ``milestones``; ``onecycle``, up from a 25th in the first 30 % of the steps, then down to zero, both on
            half a cosine.
        milestones: epochs of ``step``.
        gamma: factor of ``step``.
        warmup: epochs in which the rate first rises from zero on a line.
        label_smoothing: share of the label that is spread over all classes.
        augment: random changes of the training images, in this order; see `shapprune.networks.augment`.
        patience: epochs without a better validation result after which training ends; 0 trains them all.

    Raises:
        ShapPruneError: a name that does not exist or a number that makes no sense.
    """

    epochs: int
    batch: int = 64
    optimizer: str = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup: int = 0
    label_smoothing: float = 0.0
    augment: tuple[str, ...] = ()
    patience: int = 0

    def __post_init__(self) -> None:
        for kind, name, allowed in (
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("schedule", self.schedule, SCHEDULES),
            *(("augmentation", name, AUGMENTATIONS) for name in self.augment),
        ):
            if name not in allowed:
                raise unknown(kind, name, allowed)
        for name, good, text in (
            ("epochs", self.epochs >= 0, "0 or more"),
            ("batch", self.batch >= 1, "1 or more"),
            ("lr", self.lr > 0, "above 0"),
            ("momentum", 0 <= self.momentum < 1, "from 0 to below 1"),
            ("nesterov", not self.nesterov or self.momentum > 0, "false where momentum is 0"),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("warmup", self.warmup >= 0, "0 or more"),
            ("patience", self.patience >= 0, "0 or more"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "from 0 to below 1"),
        ):
            if not good:
                raise ShapPruneError(f"{name} of a recipe must be {text}, not {getattr(self, name)}")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Recipe:
        """The recipe that a mapping, such as ``train`` in the configuration, describes.

        Raises:
            ShapPruneError: an unknown key, no ``epochs``, or a bad value.
        """
        names = [field.name for field in fields(cls)]
        for name in options:
            if name not in names:
                raise unknown("key of a recipe", name, names)
        if "epochs" not in options:
            raise ShapPruneError("a recipe needs the key epochs")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
        }
        return cls(**values)

    def learning_rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0 through all epochs, of which each has ``steps``."""
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


def _half_cosine(done: float) -> float:
    """From 1 to 0 as ``done`` goes from 0 to 1."""
    return (1 + math.cos(math.pi * done)) / 2
