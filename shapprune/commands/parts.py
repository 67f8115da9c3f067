"""Images of a command in two parts: those that score units or calibrate, and those to evaluate on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from shapprune.commands.arguments import EVALUATED, SCORED
from shapprune.commands.normalisation import Normalisation
from shapprune.core.errors import ShapPruneError, few
from shapprune.data.prepared import draw_images


@dataclass(frozen=True, eq=False)
class Part:
    """Images that are read by their places.

    Attributes:
        count: how many there are.
        read: places, int [n] -> float32 images [n, ...], as the network takes them.
    """

    count: int
    read: Callable[[np.ndarray], Tensor]


@dataclass(frozen=True, eq=False)
class LabelledPart(Part):
    """Images of classes.

    Attributes:
        labels: of all of them, int64 [N].
    """

    labels: np.ndarray


@dataclass(frozen=True)
class UserImages:
    """Images in two parts that have none in common.

    Attributes:
        name: as the command line has it.
        shape: of an image, e.g. channels, height and width.
        scoring: those that units are scored on, or that calibrate.
        evaluation: those that loss and accuracy are measured on; None where there are no classes.
        normalisation: what is done to their pixels.
        resized: whether images are resized to the shape.
        classes: names of the classes that labels are the places of; empty where labels came as numbers, or there are
            none.
        folders: that the folders of the classes lie in.
    """

    name: str
    shape: tuple[int, ...]
    scoring: Part
    evaluation: LabelledPart | None
    normalisation: Normalisation
    resized: bool = False
    classes: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    def draw(self, part: str, wanted: int | str | None, seed: int) -> np.ndarray:
        """Draw images of a part.

        Args:
            part: ``scoring`` or ``evaluation``.
            wanted: how many, or ``all``; None draws 100 for scoring and 1000 for evaluation, or all where there are
                fewer.
            seed: of the draw.

        Returns:
            Their places, sorted.

        Raises:
            ShapPruneError: there are not so many, or a seed below 0.
        """
        if seed < 0:
            raise ShapPruneError(f"--seed {seed} is not 0 or more")
        available = getattr(self, part).count
        usual = SCORED if part == "scoring" else EVALUATED
        count = min(usual, available) if wanted is None else available if wanted == "all" else int(wanted)
        if not 0 < count <= available:
            raise ShapPruneError(f"{count} images were asked for, but {self.name} has {available} for {part}")
        return draw_images(np.arange(available), count, trial=0, seed=seed)

    def classes_missing(self, what: str, remedy: str) -> ShapPruneError:
        """The error of images without classes.

        Args:
            what: needs them.
            remedy: what to do.
        """
        return ShapPruneError(f"{self.name} has no folders of classes, which {what} needs: {remedy}")

    def facts(self) -> dict[str, Any]:
        """Say, for a manifest, which images they are."""
        return {
            "name": self.name,
            "shape": self.shape,
            "mean": self.normalisation.mean,
            "std": self.normalisation.std,
            "resized": self.resized,
            **({"classes": self.classes} if self.classes else {}),
        }

    def __str__(self) -> str:
        images = f"images of {self.name}: {' x '.join(map(str, self.shape))}, {self.normalisation}"
        if not self.classes:
            return images
        return f"{images}; {len(self.classes)} classes in {' and '.join(self.folders)}: {few(self.classes)}"
