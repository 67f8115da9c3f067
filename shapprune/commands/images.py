"""The images that a command works on: those of a folder, a function or a known set."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from shapprune.commands.arguments import EVALUATED
from shapprune.commands.network import Checkpoint
from shapprune.core.errors import ShapPruneError, suggestion
from shapprune.core.resolve import resolve_function
from shapprune.data.folders import MODES, open_folder
from shapprune.data.prepared import ImageSet, draw_images, splits, tensors
from shapprune.data.sets import DATASETS, load, load_own
from shapprune.networks.modes import mode
from shapprune.networks.training import evaluate

# Mean and standard deviation, with which networks for images are mostly trained; of grey the mean of the three colours.
IMAGENET = {3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), 1: ((0.449,), (0.226,))}
_AT_ONCE = 200  # images in memory while a network is measured


class Part(NamedTuple):
    """Images that can be read by their places.

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
        name: as it was given.
        shape: of an image, e.g. channels, height and width.
        scoring: those that units are scored on.
        evaluation: those that loss and accuracy are measured on.
        mean: what was subtracted from each channel, on the scale 0 to 1; empty where images come as they are.
        std: and what they were divided by.
        resized: whether images were resized to the shape.
        whose: where mean and std come from, for people.
    """

    name: str
    shape: tuple[int, ...]
    scoring: Part
    evaluation: Part
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resized: bool = False
    whose: str = ""

    def draw(self, part: str, wanted: int | str | None, seed: int) -> np.ndarray:
        """Draw images of a part: their places, sorted.

        Args:
            part: ``scoring`` or ``evaluation``.
            wanted: how many, or ``all``; None takes 1000, or all where there are fewer.
            seed: of the draw.

        Raises:
            ShapPruneError: there are not so many, or a seed below 0.
        """
        if seed < 0:
            raise ShapPruneError(f"--seed {seed} is not 0 or more")
        there = len(getattr(self, part).labels)
        count = min(EVALUATED, there) if wanted is None else there if wanted == "all" else int(wanted)
        if not 0 < count <= there:
            raise ShapPruneError(f"{count} images were asked for, but {self.name} has {there} for {part}")
        return draw_images(np.arange(there), count, trial=0, seed=seed)

    def facts(self) -> dict[str, Any]:
        """What a manifest says of them."""
        return {
            "name": self.name,
            "shape": self.shape,
            "mean": self.mean,
            "std": self.std,
            "resized": self.resized,
        }

    def __str__(self) -> str:
        size = " x ".join(map(str, self.shape))
        if not self.mean:
            return f"images of {self.name}: {size}, as they come"
        mean, std = (" ".join(f"{each:.4g}" for each in numbers) for numbers in (self.mean, self.std))
        return f"images of {self.name}: {size}, less {mean}, divided by {std} ({self.whose})"


def open_images(given: argparse.Namespace, checkpoint: Checkpoint) -> UserImages:
    """Open what the arguments of `shapprune.commands.arguments.add_data` name.

    Raises:
        ShapPruneError: no such images, too few classes, or arguments that do not fit them.
    """
    name, told = given.data, checkpoint.facts.get("data", {})
    in_folder = name not in DATASETS and Path(name).is_dir()
    if not in_folder and (given.size or given.channels):
        raise ShapPruneError(f"--size and --channels are for a folder of images, not for {name}")
    if (given.mean is None) != (given.std is None):
        raise ShapPruneError("give --mean and --std together")
    if in_folder:
        return _of_folder(given, checkpoint)
    if name in DATASETS:
        return _of_set(given, told, load(name), "of the data set")
    if ":" not in name:
        raise ShapPruneError(
            f"--data {name!r} is no folder, no package.module:function and no known set{suggestion(name, DATASETS)}"
        )
    arrays = resolve_function(name, "--data")()
    if not isinstance(arrays, Sequence) or len(arrays) not in (2, 4):
        raise ShapPruneError(f"{name} must return images and labels, or both for training and then for testing")
    if len(arrays) == 4:
        return _of_set(given, told, load_own(name, name), "of its training images")
    return _of_arrays(given, told, *map(_array, arrays))


def measure(model: nn.Module, part: Part, places: np.ndarray) -> tuple[float, float]:
    """Mean cross-entropy and accuracy on some images of a part, a few of them in memory at a time."""
    loss, right = 0.0, 0
    for some in np.array_split(places, math.ceil(len(places) / _AT_ONCE)):
        its_loss, its_accuracy = evaluate(model, part.read(some), torch.from_numpy(part.labels[some]))
        loss, right = loss + its_loss * len(some), right + round(its_accuracy * len(some))
    return loss / len(places), right / len(places)


def check_fit(model: nn.Module, example: Tensor, images: UserImages) -> int:
    """The number of the network's outputs, when it takes the images and has one for each label.

    Raises:
        ShapPruneError: it fails on them, has no outputs of that kind, or fewer than there are classes.
    """
    with torch.inference_mode(), mode(model, training=False):
        try:
            outputs = model(example)
        except (RuntimeError, ValueError, TypeError) as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ShapPruneError(
                f"the network fails on images {list(images.shape)} of {images.name}: {reason}"
            ) from error
    if not isinstance(outputs, Tensor) or outputs.dim() != 2:
        found = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ShapPruneError(f"the network puts out {found}, a row of one number a class is needed for each image")
    highest = max(int(part.labels.max()) for part in (images.scoring, images.evaluation))
    if highest >= outputs.shape[1]:
        raise ShapPruneError(
            f"{images.name} has labels up to {highest}, but the network has {outputs.shape[1]} outputs, for the labels"
            f" 0 ... {outputs.shape[1] - 1}"
        )
    return outputs.shape[1]


def _of_folder(given: argparse.Namespace, checkpoint: Checkpoint) -> UserImages:
    told = checkpoint.facts.get("data", {})
    parts = open_folder(given.data)
    size = tuple(given.size) if given.size else tuple(told["shape"][1:]) if told.get("resized") else None
    if size is not None and min(size) < 1:
        raise ShapPruneError(f"--size {size[0]} {size[1]} is not a height and a width of 1 or more pixels")
    height_width = size or parts[0].size()
    channels = given.channels or checkpoint.channels(height_width)
    if channels not in MODES:
        raise ShapPruneError(
            f"images of a folder have 1 or 3 channels, but the first layer of {checkpoint.path} seems to take"
            f" {channels or 'another size'}: give --channels or --size"
        )
    mean, std, whose = _normal(given, told, channels)

    def read(files: Any, places: np.ndarray) -> Tensor:
        return _normalised(files.read(places, channels, height_width, resize=size is not None), mean, std)

    opened = _in_two([Part(files.labels, partial(read, files)) for files in parts])
    return UserImages(given.data, (channels, *height_width), *opened, mean, std, size is not None, whose)


def _of_set(given: argparse.Namespace, told: dict[str, Any], found: ImageSet, whose: str) -> UserImages:
    mean, std, whose = _normal(given, told, found.info.shape[0], (found.info.mean, found.info.std, whose))
    info = dataclasses.replace(found.info, mean=mean, std=std)
    found = dataclasses.replace(found, info=info)

    def part(name: str) -> Part:
        return Part(getattr(found, f"{name}_labels"), lambda places: tensors(found, name, places)[0])

    return UserImages(given.data, info.shape, part("train"), part("test"), mean, std, whose=whose)


def _of_arrays(given: argparse.Namespace, told: dict[str, Any], images: np.ndarray, labels: np.ndarray) -> UserImages:
    if images.ndim == 3 and images.dtype == np.uint8:
        images = images[:, None]
    if not images.size or images.ndim < 2 or not (images.dtype.kind == "f" or (images.dtype == np.uint8)):
        raise ShapPruneError(
            f"{given.data} must return images as uint8 [N, C, H, W] or as floats [N, ...], not {images.dtype}"
            f" {list(images.shape)}"
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1] or labels.min() < 0:
        raise ShapPruneError(
            f"{given.data} must return {len(images)} labels, one an image, of 0 and more, not {labels.dtype}"
            f" {list(labels.shape)}"
        )
    labels = labels.astype(np.int64)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    if images.dtype == np.uint8:
        mean, std, whose = _normal(given, told, images.shape[1])
        part = Part(labels, lambda places: _normalised(_in_order(images[places]), mean, std))
    elif given.mean:
        raise ShapPruneError(f"the images of {given.data} are floats, which are taken as they come, without --mean")
    else:
        whose = ""
        part = Part(labels, lambda places: torch.from_numpy(_in_order(images[places])).float())
    return UserImages(given.data, images.shape[1:], *_in_two([part]), mean, std, whose=whose)


def _in_two(parts: Sequence[Part]) -> tuple[Part, Part]:
    """Two parts as they are; of one the halves, always the same."""
    if len(parts) == 2:
        return parts[0], parts[1]
    (whole,) = parts

    def half(places: np.ndarray) -> Part:
        return Part(whole.labels[places], lambda some: whole.read(places[some]))

    first, second = splits(len(whole.labels), len(whole.labels) // 2)
    return half(first), half(second)


Normal = tuple[tuple[float, ...], tuple[float, ...], str]


def _normal(given: argparse.Namespace, told: dict[str, Any], channels: int, own: Normal | None = None) -> Normal:
    """Mean and std: those given, or else those of the manifest, of the data set, of ImageNet; and which they are."""
    if given.mean:
        normal: Normal = tuple(given.mean), tuple(given.std), "as given"
    elif told.get("mean"):
        normal = tuple(told["mean"]), tuple(told["std"]), "as the manifest of the network says"
    elif own is not None:
        normal = own
    elif channels in IMAGENET:
        normal = *IMAGENET[channels], "ImageNet's; others by --mean and --std"
    else:
        raise ShapPruneError(f"for images [C, H, W] of {channels} channels give --mean and --std")
    for name, numbers in zip(("mean", "std"), normal[:2], strict=True):
        if len(numbers) != channels or (name == "std" and min(numbers) <= 0):
            raise ShapPruneError(
                f"the {name} of images is {channels} numbers, one a channel{', above 0' * (name == 'std')}, not"
                f" {' '.join(map(str, numbers))}"
            )
    return normal


def _normalised(images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 [n, C, H, W] as a network takes it."""
    return torch.from_numpy(images).float().div_(255).sub_(_column(mean)).div_(_column(std))


def _in_order(images: np.ndarray) -> np.ndarray:
    """A copy that lies in memory as its shape is; torch would take others for images with their channels last."""
    return np.array(images, order="C")


def _column(numbers: tuple[float, ...]) -> Tensor:
    return torch.tensor(numbers).view(-1, 1, 1)


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
