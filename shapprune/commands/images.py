"""The images of a command: of a folder, a function or a known set."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from shapprune.commands.arguments import EVALUATED
from shapprune.commands.network import Checkpoint
from shapprune.commands.normalisation import Normalisation, choose_normalisation
from shapprune.core.errors import ShapPruneError, suggestion
from shapprune.core.resolve import resolve_function
from shapprune.data.folders import MODES, open_folder
from shapprune.data.prepared import ImageSet, draw_images, splits, tensors
from shapprune.data.sets import DATASETS, load, load_own


class Part(NamedTuple):
    """Images that are read by their places.

    Attributes:
        labels: of all of them, int64 [N].
        read: places, int [n] -> float32 images [n, ...], as the network takes them.
    """

    labels: np.ndarray
    read: Callable[[np.ndarray], Tensor]


@dataclass(frozen=True)
class UserImages:
    """Labelled images in two parts that have none in common.

    Attributes:
        name: as the command line has it.
        shape: of an image, e.g. channels, height and width.
        scoring: those that units are scored on.
        evaluation: those that loss and accuracy are measured on.
        normalisation: what is done to their pixels.
        resized: whether images are resized to the shape.
    """

    name: str
    shape: tuple[int, ...]
    scoring: Part
    evaluation: Part
    normalisation: Normalisation
    resized: bool = False

    def draw(self, part: str, wanted: int | str | None, seed: int) -> np.ndarray:
        """Draw images of a part.

        Args:
            part: ``scoring`` or ``evaluation``.
            wanted: how many, or ``all``; None draws 1000, or all where there are fewer.
            seed: of the draw.

        Returns:
            Their places, sorted.

        Raises:
            ShapPruneError: there are not so many, or a seed below 0.
        """
        if seed < 0:
            raise ShapPruneError(f"--seed {seed} is not 0 or more")
        available = len(getattr(self, part).labels)
        count = min(EVALUATED, available) if wanted is None else available if wanted == "all" else int(wanted)
        if not 0 < count <= available:
            raise ShapPruneError(f"{count} images were asked for, but {self.name} has {available} for {part}")
        return draw_images(np.arange(available), count, trial=0, seed=seed)

    def facts(self) -> dict[str, Any]:
        """Say, for a manifest, which images they are."""
        return {
            "name": self.name,
            "shape": self.shape,
            "mean": self.normalisation.mean,
            "std": self.normalisation.std,
            "resized": self.resized,
        }

    def __str__(self) -> str:
        return f"images of {self.name}: {' x '.join(map(str, self.shape))}, {self.normalisation}"


def open_images(arguments: argparse.Namespace, checkpoint: Checkpoint) -> UserImages:
    """Open the images that the arguments name (`shapprune.commands.arguments.add_data`).

    Raises:
        ShapPruneError: no such images, too few classes, or arguments that do not fit them.
    """
    name = arguments.data
    is_folder = name not in DATASETS and Path(name).is_dir()
    if not is_folder and (arguments.size or arguments.channels):
        raise ShapPruneError(f"--size and --channels are for a folder of images, not for {name}")
    if (arguments.mean is None) != (arguments.std is None):
        raise ShapPruneError("give --mean and --std together")
    if is_folder:
        return _open_folder(arguments, checkpoint)
    stored = checkpoint.manifest.get("data", {})
    if name in DATASETS:
        return _open_set(arguments, stored, load(name), "of the data set")
    if ":" not in name:
        raise ShapPruneError(
            f"--data {name!r} is no folder, no package.module:function and no known set{suggestion(name, DATASETS)}"
        )
    arrays = resolve_function(name, "--data")()
    if not isinstance(arrays, Sequence) or len(arrays) not in (2, 4):
        raise ShapPruneError(f"{name} must return images and labels, or both for training and then for testing")
    if len(arrays) == 4:
        return _open_set(arguments, stored, load_own(name, name), "of its training images")
    return _open_arrays(arguments, stored, *map(_as_array, arrays))


def _open_folder(arguments: argparse.Namespace, checkpoint: Checkpoint) -> UserImages:
    stored = checkpoint.manifest.get("data", {})
    parts = open_folder(arguments.data)
    size = tuple(stored["shape"][1:]) if stored.get("resized") else None
    if arguments.size:
        size = tuple(arguments.size)
    if size is not None and min(size) < 1:
        raise ShapPruneError(f"--size {size[0]} {size[1]} is not a height and a width of 1 or more pixels")
    height_width = size or parts[0].size()
    channels = arguments.channels or checkpoint.channels(height_width)
    if channels not in MODES:
        raise ShapPruneError(
            f"images of a folder have 1 or 3 channels, but the first layer of {checkpoint.path} seems to take"
            f" {channels or 'another size'}: give --channels or --size"
        )
    normalisation = choose_normalisation(arguments, stored, channels)

    def read(files: Any, places: np.ndarray) -> Tensor:
        return normalisation.apply(files.read(places, channels, height_width, resize=size is not None))

    halves = _split([Part(files.labels, partial(read, files)) for files in parts])
    return UserImages(arguments.data, (channels, *height_width), *halves, normalisation, size is not None)


def _open_set(arguments: argparse.Namespace, stored: Mapping[str, Any], image_set: ImageSet, origin: str) -> UserImages:
    info = image_set.info
    own = Normalisation(info.mean, info.std, origin)
    chosen = choose_normalisation(arguments, stored, info.shape[0], own)
    normalised = dataclasses.replace(image_set, info=dataclasses.replace(info, mean=chosen.mean, std=chosen.std))

    def part(name: str) -> Part:
        return Part(getattr(normalised, f"{name}_labels"), lambda places: tensors(normalised, name, places)[0])

    return UserImages(arguments.data, info.shape, part("train"), part("test"), chosen)


def _open_arrays(
    arguments: argparse.Namespace, stored: Mapping[str, Any], images: np.ndarray, labels: np.ndarray
) -> UserImages:
    if images.ndim == 3 and images.dtype == np.uint8:
        images = images[:, None]
    _check_arrays(arguments.data, images, labels)
    labels = labels.astype(np.int64)
    normalisation = Normalisation()
    if images.dtype == np.uint8:
        normalisation = choose_normalisation(arguments, stored, images.shape[1])
        part = Part(labels, lambda places: normalisation.apply(_copy_in_order(images[places])))
    elif arguments.mean:
        raise ShapPruneError(f"the images of {arguments.data} are floats, which are taken as they come, without --mean")
    else:
        part = Part(labels, lambda places: torch.from_numpy(_copy_in_order(images[places])).float())
    return UserImages(arguments.data, images.shape[1:], *_split([part]), normalisation)


def _check_arrays(name: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Raise unless a function's arrays are images and labels of them."""
    if not images.size or images.ndim < 2 or not (images.dtype.kind == "f" or images.dtype == np.uint8):
        raise ShapPruneError(
            f"{name} must return images as uint8 [N, C, H, W] or as floats [N, ...], not {images.dtype}"
            f" {list(images.shape)}"
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1] or labels.min() < 0:
        raise ShapPruneError(
            f"{name} must return {len(images)} labels, one an image, of 0 and more, not {labels.dtype}"
            f" {list(labels.shape)}"
        )


def _split(parts: Sequence[Part]) -> tuple[Part, Part]:
    """Take two parts as they are; split one into halves, always the same."""
    if len(parts) == 2:
        return parts[0], parts[1]
    (whole,) = parts

    def half(places: np.ndarray) -> Part:
        return Part(whole.labels[places], lambda some: whole.read(places[some]))

    first, second = splits(len(whole.labels), len(whole.labels) // 2)
    return half(first), half(second)


def _copy_in_order(images: np.ndarray) -> np.ndarray:
    """Copy images so that memory follows their shape; torch would take any other order for channels last."""
    return np.array(images, order="C")


def _as_array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
