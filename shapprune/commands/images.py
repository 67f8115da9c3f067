"""The images of a command: of a folder, a function or a known set."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shapprune.commands.network import Checkpoint
from shapprune.commands.normalisation import Normalisation, choose_normalisation
from shapprune.commands.parts import LabelledPart, Part, UserImages
from shapprune.core.errors import ShapPruneError, suggestion
from shapprune.data.folders import ImageFolder, open_flat_folder, open_folder, open_more
from shapprune.data.image_files import MODES, ImageFiles
from shapprune.data.prepared import ARRAYS, ImageSet, splits, tensors
from shapprune.data.sets import DATASETS, load, make_set, own_arrays
from shapprune.data.texts import check_sequences, make_token_set


def open_images(arguments: argparse.Namespace, checkpoint: Checkpoint) -> UserImages:
    """Open the images that the arguments name (`shapprune.commands.arguments.add_data`).

    Raises:
        ShapPruneError: no such images, too few classes, or arguments that do not fit them.
    """
    name = arguments.data
    is_folder = name not in DATASETS and Path(name).is_dir()
    if not is_folder and (arguments.size or arguments.channels):
        raise ShapPruneError(f"--size and --channels are for a folder of images, not for {name}")
    if not is_folder and arguments.evaluate_on:
        raise ShapPruneError(f"--evaluate-on goes with a folder of images as --data, and {name} is none")
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
    arrays = own_arrays(name, "--data", f"--data {name}")
    if len(arrays) not in (2, len(ARRAYS)):
        raise ShapPruneError(
            f"--data {name} must return images and labels, or both for training and then for testing, not"
            f" {len(arrays)} values"
        )
    if len(arrays) == len(ARRAYS):
        if _are_tokens(*arrays[:2]):
            token_set = make_token_set(arrays, name, arrays[0].shape[1], f"--data {name}")
            return _open_set(arguments, stored, token_set, "")
        return _open_set(arguments, stored, make_set(arrays, name, f"--data {name}"), "of its training images")
    return _open_arrays(arguments, stored, *arrays)


def _open_folder(arguments: argparse.Namespace, checkpoint: Checkpoint) -> UserImages:
    stored = checkpoint.manifest.get("data", {})
    scoring, evaluation = _find_files(arguments, stored.get("classes", ()))
    size = tuple(stored["shape"][1:]) if stored.get("resized") else None
    if arguments.size:
        size = tuple(arguments.size)
    if size is not None and min(size) < 1:
        raise ShapPruneError(f"--size {size[0]} {size[1]} is not a height and a width of 1 or more pixels")
    height_width = size or scoring.size()
    channels = arguments.channels or checkpoint.channels(height_width)
    if channels not in MODES:
        raise ShapPruneError(
            f"images of a folder have 1 or 3 channels, but the first layer of {checkpoint.path} seems to take"
            f" {channels or 'another size'}: give --channels or --size"
        )
    normalisation = choose_normalisation(arguments, stored, channels)

    def read(files: ImageFiles, places: np.ndarray) -> Tensor:
        return normalisation.apply(files.read(places, channels, height_width, resize=size is not None))

    def labelled(files: ImageFolder) -> LabelledPart:
        return LabelledPart(len(files.files), partial(read, files), files.labels)

    halves: tuple[Part, LabelledPart | None]
    if not isinstance(scoring, ImageFolder):
        halves = Part(len(scoring.files), partial(read, scoring)), None if evaluation is None else labelled(evaluation)
    elif evaluation is None:
        halves = _halve(labelled(scoring))
    else:
        halves = labelled(scoring), labelled(evaluation)
    folders = [each for each in (scoring, evaluation) if isinstance(each, ImageFolder)]
    return UserImages(
        arguments.data,
        (channels, *height_width),
        *halves,
        normalisation,
        resized=size is not None,
        classes=folders[0].classes if folders else (),
        folders=tuple(str(each.root) for each in folders),
    )


def _find_files(arguments: argparse.Namespace, classes: Sequence[str]) -> tuple[ImageFiles, ImageFolder | None]:
    """Images that score or calibrate, and others to evaluate on, if there are any apart.

    Args:
        arguments: of the command.
        classes: names of the network's classes, if its manifest says them.
    """
    flat = open_flat_folder(arguments.data)
    parts = [] if flat else open_folder(arguments.data, classes)
    scoring: ImageFiles = flat or parts[0]
    if arguments.evaluate_on is None:
        return scoring, parts[1] if len(parts) > 1 else None
    if not Path(arguments.evaluate_on).is_dir():
        raise ShapPruneError(f"--evaluate-on {arguments.evaluate_on} is not a folder")
    if isinstance(scoring, ImageFolder):
        evaluation = open_more(Path(arguments.evaluate_on), scoring)
    else:
        evaluation = open_folder(arguments.evaluate_on, classes)[-1]
    if {file.resolve() for file in scoring.files} & {file.resolve() for file in evaluation.files}:
        raise ShapPruneError(f"--evaluate-on {arguments.evaluate_on} has images that are also in --data; give others")
    return scoring, evaluation


def _open_set(arguments: argparse.Namespace, stored: Mapping[str, Any], image_set: ImageSet, origin: str) -> UserImages:
    info = image_set.info
    if info.tokens:
        chosen = _refuse_normalisation(arguments, "tokens")
    else:
        own = Normalisation(info.mean, info.std, origin)
        chosen = choose_normalisation(arguments, stored, info.shape[0], own)
    normalised = dataclasses.replace(image_set, info=dataclasses.replace(info, mean=chosen.mean, std=chosen.std))

    def part(name: str) -> LabelledPart:
        labels = getattr(normalised, f"{name}_labels")
        return LabelledPart(len(labels), lambda places: tensors(normalised, name, places)[0], labels)

    return UserImages(arguments.data, info.shape, part("train"), part("test"), chosen)


def _open_arrays(
    arguments: argparse.Namespace, stored: Mapping[str, Any], images: np.ndarray, labels: np.ndarray
) -> UserImages:
    if images.ndim == 3 and images.dtype == np.uint8:
        images = images[:, None]
    numbers, kind = torch.float, "floats"
    if _are_tokens(images, labels):
        check_sequences(images, labels, images.shape[1], f"--data {arguments.data}")
        images, numbers, kind = images.astype(np.int64), torch.long, "tokens"
    else:
        _check_arrays(arguments.data, images, labels)
    labels = labels.astype(np.int64)
    if images.dtype == np.uint8:
        normalisation = choose_normalisation(arguments, stored, images.shape[1])

        def read(places: np.ndarray) -> Tensor:
            return normalisation.apply(_copy_in_order(images[places]))

    else:
        normalisation = _refuse_normalisation(arguments, kind)

        def read(places: np.ndarray) -> Tensor:
            return torch.from_numpy(_copy_in_order(images[places])).to(numbers)

    halves = _halve(LabelledPart(len(labels), read, labels))
    return UserImages(arguments.data, images.shape[1:], *halves, normalisation)


def _are_tokens(images: np.ndarray, labels: np.ndarray) -> bool:
    return images.ndim == labels.ndim == 2 and images.dtype.kind in "iu" and labels.dtype.kind in "iu"


def _refuse_normalisation(arguments: argparse.Namespace, what: str) -> Normalisation:
    """What is done to images that are taken as they come."""
    if arguments.mean:
        raise ShapPruneError(f"the images of {arguments.data} are {what}, which are taken as they come, without --mean")
    return Normalisation()


def _check_arrays(name: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Raise unless a function's arrays are images and labels of them."""
    if not images.size or images.ndim < 2 or not (images.dtype.kind == "f" or images.dtype == np.uint8):
        raise ShapPruneError(
            f"{name} must return images as uint8 [N, C, H, W] or as floats [N, ...], not {images.dtype}"
            f" {list(images.shape)}"
        )
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        place = int(np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(1))[0])
        raise ShapPruneError(f"{name} returns images with nan or infinite values, the first at place {place}")
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1] or labels.min() < 0:
        raise ShapPruneError(
            f"{name} must return {len(images)} labels, one an image, of 0 and more, not {labels.dtype}"
            f" {list(labels.shape)}"
        )


def _halve(whole: LabelledPart) -> tuple[LabelledPart, LabelledPart]:
    """Split a part into halves, always the same."""

    def half(places: np.ndarray) -> LabelledPart:
        return LabelledPart(len(places), lambda some: whole.read(places[some]), whole.labels[places])

    first, second = splits(whole.count, whole.count // 2)
    return half(first), half(second)


def _copy_in_order(images: np.ndarray) -> np.ndarray:
    """Copy images so that memory follows their shape; torch would take any other order for channels last."""
    return np.array(images, order="C")
