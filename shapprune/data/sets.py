"""Named image sets and those of one's own, texts among them: their facts, where their files are, and loading.

Importing this module does not import torch, so that a workflow can be planned by the table `DATASETS`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shapprune.core.errors import ShapPruneError, first_line, unknown
from shapprune.core.paths import REPOSITORY
from shapprune.core.resolve import call_function
from shapprune.data import sources
from shapprune.data.prepared import ARRAYS, Arrays, DataInfo, ImageSet, arrays_md5, check_image_set, md5_of, read_arrays
from shapprune.data.texts import TEXTS, make_text_set, make_token_set, read_text

SAMPLE = "fashion-mnist-sample"
_SAMPLE_MD5 = "759a1a17a7e2c0a84bd66edccaba3616"  # of its arrays; the file may be packed by another zlib
DATASETS: dict[str, DataInfo] = {
    info.name: info
    for info in (
        DataInfo(SAMPLE, (1, 28, 28), 10, 12000, 2000, (0.286,), (0.353,)),
        DataInfo("digits", (1, 8, 8), 10, 1437, 360, (0.3049,), (0.3757,)),
        DataInfo("mnist", (1, 28, 28), 10, 60000, 10000, (0.1307,), (0.3081,)),
        DataInfo("fashion-mnist", (1, 28, 28), 10, 60000, 10000, (0.286,), (0.353,)),
        # The numbers of ImageNet, with which the public CIFAR-10 networks and Ancona et al. 2020 trained.
        DataInfo("cifar10", (3, 32, 32), 10, 50000, 10000, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        # (x - 127) / 128, as TensorFlow trained EfficientNet-Lite.
        DataInfo("imagenet-sample", (3, 224, 224), 1000, 500, 500, (127 / 255,) * 3, (128 / 255,) * 3),
        DataInfo("tiny-shakespeare", (128,), 65, 7781, 864, (), ()),
    )
}
# `arrays_md5` of each set, so that cache keys are known without reading images.
KNOWN_MD5 = {
    SAMPLE: "c8813ff4f8649291606ec635c5d758b0",
    "digits": "063f49082c60f487ea6fd835a64117c4",
    "mnist": "3a8942afaa4d4472e73e631e8d5025b7",
    "fashion-mnist": "87df77318880e56d6caad20b3facc564",
    "cifar10": "3d7df60196cbb162eae0001b44824de8",
    "imagenet-sample": "99822aeac58b91a24a5b72af77f84d1d",
    "tiny-shakespeare": "418116f89b2566a399d27d452781e8ae",
}


def load(name: str, root: str | Path | None = None, download: bool = True) -> ImageSet:
    """Load a named image set.

    Args:
        name: a name in `DATASETS`.
        root: the only folder to search; by default ``data/raw`` of the repository, then the folder in the environment
            variable SHAPPRUNE_DATA. ``data/README.md`` describes the files in it.
        download: download a full set into the first folder if none has it; `imagenet-sample` cannot be.

    Raises:
        ShapPruneError: an unknown name, a damaged file, or a set that is missing and cannot be downloaded.

    Examples:
        >>> from shapprune.data import sets
        >>> digits = sets.load("digits")  # comes with scikit-learn
        >>> digits.train_images.shape, digits.test_labels.shape
        ((1437, 1, 8, 8), (360,))
    """
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    folders = [Path(root)] if root is not None else searched_folders()
    ours = folders if root is not None else [REPOSITORY / "data", *folders]
    info = DATASETS[name]
    if name in TEXTS:
        image_set = make_text_set(read_text(name, ours), name, info.shape[0])
    elif name == "digits":
        image_set = check_image_set(info, sources.digits())
    elif name == SAMPLE:
        image_set = check_image_set(info, _sample(ours))
    else:
        image_set = check_image_set(info, _full(name, folders, download))
    if (md5 := arrays_md5(image_set)) != KNOWN_MD5[name]:
        raise ShapPruneError(f"the images of {name} are not the published ones: their MD5 is {md5}")
    return image_set


def load_own(own: str | Mapping[str, Any], name: str) -> ImageSet:
    """Load a data set of one's own; mean and std of images are those of the training images.

    Args:
        own: ``"package.module:function"``; called without arguments, it returns train images, train labels, test images
            and test labels: uint8 [N, C, H, W] or [N, H, W], and integers [N] from 0 to classes - 1. Two pairs of
            images and labels are taken as well. Or the settings of a text: its ``source``, which is a file, the name of
            a text that comes with the package, or a function that returns tokens as `make_token_set` takes them; the
            ``length`` of sequences, and the ``tokenizer`` of a text that is read.
        name: the name of the set in the configuration.

    Raises:
        ShapPruneError: the function does not exist, fails, or returns arrays of the wrong type, shape or length; or the
            text cannot be read, or is too short.
    """
    source: str = own if isinstance(own, str) else own["source"]
    if not isinstance(own, str) and ":" not in source:
        text = read_text(source, [REPOSITORY / "data", *searched_folders()])
        return make_text_set(text, name, own["length"], own["tokenizer"])
    what = f"data set {name!r} ({source})"
    arrays = own_arrays(source, f"data set {name!r}:", what)
    if not isinstance(own, str):
        return make_token_set(arrays, name, own["length"], what)
    if len(arrays) != len(ARRAYS):
        raise ShapPruneError(f"{what} must return four arrays: {', '.join(ARRAYS)}")
    return make_set(arrays, name, what)


def own_arrays(function: str, kind: str, what: str) -> list[np.ndarray]:
    """Call a function of one's own that returns arrays.

    Args:
        function: ``"package.module:function"``.
        kind: what it is for, in error messages that name the function.
        what: the function with what it is for, in other error messages.

    Returns:
        What it returned as arrays. Two pairs of images and labels become four; tensors of types that numpy does not
        know become float32.

    Raises:
        ShapPruneError: there is no such function, it fails, or it returns something else.
    """
    result = call_function(function, kind)
    if isinstance(result, list | tuple) and len(result) == 2 and all(_is_pair(each) for each in result):
        result = [each for pair in result for each in pair]
    if not isinstance(result, list | tuple):
        raise ShapPruneError(f"{what} must return arrays or tensors, not a {type(result).__name__}")
    return [_as_array(each, what) for each in result]


def _is_pair(value: object) -> bool:
    """Whether a value is images and labels, as Keras returns them twice, and not rows of numbers."""
    return isinstance(value, list | tuple) and len(value) == 2 and all(hasattr(each, "__array__") for each in value)


def _as_array(values: Any, what: str) -> np.ndarray:
    if hasattr(values, "detach"):  # a tensor
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() and values.element_size() < 4 else values
    elif not isinstance(values, list | tuple) and not hasattr(values, "__array__"):
        raise ShapPruneError(f"{what} must return arrays or tensors, not a {type(values).__name__}")
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ShapPruneError(f"{what} returns what is no array: {first_line(error)}") from error


def make_set(arrays: Sequence[np.ndarray], name: str, what: str) -> ImageSet:
    """Make an image set of four arrays; mean and std are those of its training images.

    Args:
        arrays: as `load_own` describes them.
        name: of the set.
        what: they are, for error messages.

    Raises:
        ShapPruneError: an array has a wrong type, shape or length.
    """
    by_name = dict(zip(ARRAYS, arrays, strict=True))
    for part in ("train", "test"):
        images, labels = by_name[f"{part}_images"], by_name[f"{part}_labels"]
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or not images.size:
            raise ShapPruneError(
                f"{what}: {part}_images must be uint8 [N, C, H, W] or [N, H, W], not {images.dtype}"
                f" {list(images.shape)}"
            )
        if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
            raise ShapPruneError(
                f"{what}: {part}_labels must be {len(images)} integers, one an image, not {labels.dtype}"
                f" {list(labels.shape)}"
            )
        by_name[f"{part}_images"] = images if images.ndim == 4 else images[:, None]
    train_images, train_labels, test_images, test_labels = by_name.values()
    if train_images.shape[1:] != test_images.shape[1:]:
        raise ShapPruneError(
            f"{what}: training images are {list(train_images.shape[1:])}, but test images {list(test_images.shape[1:])}"
        )
    present = np.unique(train_labels)
    if not np.array_equal(present, np.arange(len(present))):
        raise ShapPruneError(f"{what}: training labels must be 0 to classes - 1, each there, not {present.tolist()}")
    if not np.isin(test_labels, present).all():
        raise ShapPruneError(f"{what}: test labels must be 0 to {present[-1]}, as the training labels are")
    mean, std = _mean_std(train_images)
    channels, height, width = train_images.shape[1:]
    counts = len(train_images), len(test_images)
    info = DataInfo(name, (channels, height, width), len(present), *counts, mean, std)
    return check_image_set(info, (train_images, train_labels, test_images, test_labels))


def searched_folders() -> list[Path]:
    """The folders that are searched for full sets; the first takes downloads. The repository's only in a checkout."""
    in_repository = [REPOSITORY / "data" / "raw"] if (REPOSITORY / "pyproject.toml").is_file() else []
    named = [Path(folder)] if (folder := os.environ.get("SHAPPRUNE_DATA")) else []
    return in_repository + named


def _full(name: str, folders: list[Path], download: bool) -> Arrays:
    for folder in folders:
        if arrays := sources.read(name, folder):
            return arrays
    if download and folders and name in sources.DOWNLOADS:
        sources.download(name, folders[0])
        if arrays := sources.read(name, folders[0]):
            return arrays
    looked = f"is not in {' or '.join(map(str, folders))}" if folders else "is nowhere to be found"
    raise ShapPruneError(f"{name} {looked}; name the folder that has it in SHAPPRUNE_DATA (see data/README.md)")


def _sample(folders: list[Path]) -> Arrays:
    for folder in folders:
        if (path := folder / f"{SAMPLE}.npz").is_file():
            arrays = read_arrays(path)
            if md5_of(arrays) != _SAMPLE_MD5:
                raise ShapPruneError(f"{path} is damaged; get it again with: git checkout -- data/{path.name}")
            return arrays
    raise ShapPruneError(
        f"{SAMPLE}.npz is not in {' or '.join(map(str, folders))}; it comes with the repository, in data/"
    )


def _mean_std(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of each channel on the scale 0 to 1, computed from histograms instead of float images."""
    levels = np.arange(256) / 255
    shares = [np.bincount(images[:, c].ravel(), minlength=256) / images[:, c].size for c in range(images.shape[1])]
    mean = [float(share @ levels) for share in shares]
    variance = [float(share @ (levels - centre) ** 2) for share, centre in zip(shares, mean, strict=True)]
    return tuple(mean), tuple(each**0.5 or 1.0 for each in variance)  # a channel of one value is only shifted
