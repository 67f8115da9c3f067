"""Named image sets: where they lie, how they are split and drawn from, and as tensors for a network.

Importing this module does not import torch, so a workflow can read the table `DATASETS` cheaply.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shapprune import sources
from shapprune.errors import ShapPruneError, unknown
from shapprune.files import read_json, whole, write_json
from shapprune.resolve import resolve_function

if TYPE_CHECKING:
    import torch

REPOSITORY = Path(__file__).resolve().parents[1]
SAMPLE = "fashion-mnist-sample"
_SAMPLE_MD5 = "759a1a17a7e2c0a84bd66edccaba3616"  # of its arrays, so that another zlib may pack the file
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class DataInfo:
    """What is known of an image set without reading it.

    Attributes:
        name: its name in the configuration.
        shape: channels, height and width of an image.
        classes: number of classes; labels are 0 to classes - 1.
        train: number of training images.
        test: number of test images.
        mean: mean of each channel, on the scale 0 to 1, that `tensors` subtracts.
        std: standard deviation of each channel, on the same scale, that `tensors` divides by.
    """

    name: str
    shape: tuple[int, int, int]
    classes: int
    train: int
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


DATASETS: dict[str, DataInfo] = {
    info.name: info
    for info in (
        DataInfo(SAMPLE, (1, 28, 28), 10, 12000, 2000, (0.286,), (0.353,)),
        DataInfo("digits", (1, 8, 8), 10, 1437, 360, (0.3049,), (0.3757,)),
        DataInfo("mnist", (1, 28, 28), 10, 60000, 10000, (0.1307,), (0.3081,)),
        DataInfo("fashion-mnist", (1, 28, 28), 10, 60000, 10000, (0.286,), (0.353,)),
        # The numbers of ImageNet, with which the public CIFAR-10 networks and Ancona et al. 2020 trained.
        DataInfo("cifar10", (3, 32, 32), 10, 50000, 10000, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    )
}


# Of the arrays, as `arrays_md5` has it, so that keys of results can be known without reading images.
KNOWN_MD5 = {
    SAMPLE: "c8813ff4f8649291606ec635c5d758b0",
    "digits": "063f49082c60f487ea6fd835a64117c4",
    "mnist": "3a8942afaa4d4472e73e631e8d5025b7",
    "fashion-mnist": "87df77318880e56d6caad20b3facc564",
    "cifar10": "3d7df60196cbb162eae0001b44824de8",
}


@dataclass(frozen=True, eq=False)
class ImageSet:
    """An image set: uint8 images [N, C, H, W] and int64 labels [N], for training and for testing."""

    info: DataInfo
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load(name: str, root: str | Path | None = None, download: bool = True) -> ImageSet:
    """Load a named image set.

    Args:
        name: a name in `DATASETS`.
        root: the only folder to look in; by default ``data/raw`` of the repository, then the folder that the
            environment variable SHAPPRUNE_DATA names. ``data/README.md`` says how files lie in it.
        download: whether a full set that is in neither folder is downloaded into the first.

    Raises:
        ShapPruneError: an unknown name, a damaged file, or a set that is missing and cannot be downloaded.
    """
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    folders = [Path(root)] if root is not None else _folders()
    if name == "digits":
        arrays = sources.digits()
    elif name == SAMPLE:
        arrays = _sample(folders if root is not None else [REPOSITORY / "data", *folders])
    else:
        arrays = _full(name, folders, download)
    image_set = _image_set(DATASETS[name], arrays)
    if (md5 := arrays_md5(image_set)) != KNOWN_MD5[name]:
        raise ShapPruneError(f"the images of {name} are not the published ones: their MD5 is {md5}")
    return image_set


def load_own(function: str, name: str) -> ImageSet:
    """Load an image set from a function of one's own; mean and std are those of its training images.

    Args:
        function: ``"package.module:function"``; called without arguments, it returns train images, train labels,
            test images and test labels: uint8 [N, C, H, W] or [N, H, W], and integers [N] from 0 to classes - 1.
        name: the name of the set in the configuration.

    Raises:
        ShapPruneError: no such function, or arrays of the wrong type, shape or length.
    """
    result = resolve_function(function, f"data set {name!r}:")()
    what = f"data set {name!r} ({function})"
    if not isinstance(result, Sequence) or len(result) != len(_ARRAYS):
        raise ShapPruneError(f"{what} must return four arrays: {', '.join(_ARRAYS)}")
    arrays = dict(zip(_ARRAYS, map(np.asarray, result), strict=True))
    for part in ("train", "test"):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
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
        arrays[f"{part}_images"] = images if images.ndim == 4 else images[:, None]
    train_images, train_labels, test_images, test_labels = arrays.values()
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
    return _image_set(info, (train_images, train_labels, test_images, test_labels))


def splits(train: int, validation: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Split the training images at random: sorted indices of those that train and of those held back.

    Args:
        train: number of training images of the set.
        validation: how many of them to hold back.
        seed: of the draw.

    Raises:
        ShapPruneError: no image would be left to train on.
    """
    if not 0 < validation < train:
        raise ShapPruneError(f"cannot hold back {validation} images for validation of {train} training images")
    order = np.random.default_rng(seed).permutation(train)
    return np.sort(order[validation:]), np.sort(order[:validation])


def draw_images(pool: np.ndarray, images: int, trial: int, seed: int = 0) -> np.ndarray:
    """Draw a trial's images from a pool of indices, without replacement: sorted indices [images].

    Raises:
        ShapPruneError: the pool is smaller.
    """
    if not 0 < images <= len(pool):
        raise ShapPruneError(f"cannot draw {images} images from {len(pool)}")
    return np.sort(np.random.default_rng([seed, trial]).choice(pool, images, replace=False))


def rest(pool: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The indices of the pool that were not drawn, sorted."""
    return np.setdiff1d(pool, drawn)


def tensors(image_set: ImageSet, part: str, indices: np.ndarray | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels as a network takes them.

    Args:
        image_set: the set.
        part: ``"train"`` or ``"test"``.
        indices: which images, in this order; by default all.

    Returns:
        float32 images [N, C, H, W], from 0..255 to 0..1, less the mean and divided by the std of each channel; int64
        labels [N].
    """
    import torch

    if part not in ("train", "test"):
        raise unknown("part of the data", part, ("train", "test"))
    images: np.ndarray = getattr(image_set, f"{part}_images")
    labels: np.ndarray = getattr(image_set, f"{part}_labels")
    if indices is not None:
        images, labels = images[indices], labels[indices]
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (image_set.info.mean, image_set.info.std))
    return torch.from_numpy(images.astype(np.float32)).div_(255).sub_(mean).div_(std), torch.tensor(labels)


def write_prepared(path: str | Path, image_set: ImageSet) -> None:
    """Write an image set as an uncompressed ``.npz`` and, beside it under the same stem, a ``.json`` with its facts.

    The manifest holds the fields of `DataInfo` and ``md5``, of the bytes of the four arrays.
    """
    path = Path(path)
    arrays = {name: getattr(image_set, name) for name in _ARRAYS}
    with whole(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)
    manifest = asdict(image_set.info) | {"md5": arrays_md5(image_set)}
    write_json(path.with_suffix(".json"), manifest)


def arrays_md5(image_set: ImageSet) -> str:
    """The MD5 of the bytes of the four arrays, labels as int64."""
    return _digest(getattr(image_set, name) for name in _ARRAYS)


def read_prepared(path: str | Path) -> ImageSet:
    """Read what `write_prepared` wrote.

    Raises:
        ShapPruneError: a file of the two is missing, damaged or does not belong to the other.
    """
    path = Path(path)
    arrays = _read_npz(path)
    try:
        manifest: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        md5 = manifest.pop("md5")
        lists = {key: tuple(value) for key, value in manifest.items() if isinstance(value, list)}
        info = DataInfo(**(manifest | lists))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShapPruneError(
            f"{path.with_suffix('.json')} is missing or damaged ({error!r}); delete {path} and make it again"
        ) from error
    if _digest(arrays) != md5:
        raise ShapPruneError(
            f"{path} does not hold the images that {path.with_suffix('.json').name} was written for; delete both and"
            " make them again"
        )
    return _image_set(info, arrays)


def require_data(facts: Mapping[str, Any], prepared: str | Path) -> None:
    """See to it that a network was made from the data set as it is now.

    Args:
        facts: of the network's manifest.
        prepared: the data set.

    Raises:
        ShapPruneError: it was made from another.
    """
    name, md5 = facts["data"]["name"], read_json(Path(prepared).with_suffix(".json"))["md5"]
    if facts["data"]["md5"] != md5:
        raise ShapPruneError(
            f"the images of data set {name!r} have changed (their MD5 was {facts['data']['md5']}, now it is {md5}), but"
            f" neither its function nor a DVC pointer data/{name}.dvc has, by which results are kept: add the pointer"
        )


def _folders() -> list[Path]:
    """Where full sets are looked for; the first takes downloads. An installed package has no repository around it."""
    in_repository = [REPOSITORY / "data" / "raw"] if (REPOSITORY / "pyproject.toml").is_file() else []
    named = [Path(folder)] if (folder := os.environ.get("SHAPPRUNE_DATA")) else []
    return in_repository + named


def _full(name: str, folders: list[Path], download: bool) -> sources.Arrays:
    for folder in folders:
        if arrays := sources.read(name, folder):
            return arrays
    if download and folders:
        sources.download(name, folders[0])
        if arrays := sources.read(name, folders[0]):
            return arrays
    looked = f"is not in {' or '.join(map(str, folders))}" if folders else "is nowhere to be found"
    raise ShapPruneError(f"{name} {looked}; name the folder that has it in SHAPPRUNE_DATA (see data/README.md)")


def _sample(folders: list[Path]) -> sources.Arrays:
    for folder in folders:
        if (path := folder / f"{SAMPLE}.npz").is_file():
            arrays = _read_npz(path)
            if _digest(arrays) != _SAMPLE_MD5:
                raise ShapPruneError(f"{path} is damaged; get it again with: git checkout -- data/{path.name}")
            return arrays
    raise ShapPruneError(
        f"{SAMPLE}.npz is not in {' or '.join(map(str, folders))}; it comes with the repository, in data/"
    )


def _read_npz(path: Path) -> sources.Arrays:
    try:
        with np.load(path, allow_pickle=False) as archive:
            train_images, train_labels, test_images, test_labels = (archive[name] for name in _ARRAYS)
    except FileNotFoundError as error:
        raise ShapPruneError(f"{path} does not exist") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ShapPruneError(f"{path} is damaged ({error}); delete it and make it again") from error
    return train_images, train_labels, test_images, test_labels


def _image_set(info: DataInfo, arrays: sources.Arrays) -> ImageSet:
    train_images, train_labels, test_images, test_labels = arrays
    image_set = ImageSet(info, train_images, train_labels.astype(np.int64), test_images, test_labels.astype(np.int64))
    for part, count in (("train", info.train), ("test", info.test)):
        found = getattr(image_set, f"{part}_images").shape
        if found != (count, *info.shape) or len(getattr(image_set, f"{part}_labels")) != count:
            raise ShapPruneError(
                f"the {part} part of {info.name} should be {count} labelled images {list(info.shape)},"
                f" not {list(found)}"
            )
    return image_set


def _mean_std(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of each channel on the scale 0 to 1, from histograms: exact, and no copy of the images as floats."""
    levels = np.arange(256) / 255
    shares = [np.bincount(images[:, c].ravel(), minlength=256) / images[:, c].size for c in range(images.shape[1])]
    mean = [float(share @ levels) for share in shares]
    variance = [float(share @ (levels - centre) ** 2) for share, centre in zip(shares, mean, strict=True)]
    return tuple(mean), tuple(each**0.5 or 1.0 for each in variance)  # a channel of one value is only shifted


def _digest(arrays: Any) -> str:
    md5 = hashlib.md5(usedforsecurity=False)
    for array in arrays:
        md5.update(np.ascontiguousarray(array).data)
    return md5.hexdigest()
