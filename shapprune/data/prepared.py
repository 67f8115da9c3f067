"""Image sets in the form that all stages read: checked arrays, splits, draws, and tensors for a network.

Sets of sequences have the same form: tokens in the place of images, and a label at each position.

Importing this module does not import torch.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.core.files import read_json, whole, write_json

if TYPE_CHECKING:
    import torch

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # train images and labels, test images and labels
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
# The label of a token that does not count, as `torch.nn.functional.cross_entropy` has it.
NOT_COUNTED = -100


@dataclass(frozen=True)
class DataInfo:
    """The facts about an image set that are known without reading it.

    Attributes:
        name: its name in the configuration.
        shape: channels, height and width of an image, or the length of a sequence of tokens.
        classes: number of classes, or of the tokens in the vocabulary; labels are 0 to classes - 1.
        train: number of training images.
        test: number of test images.
        mean: mean of each channel, on the scale 0 to 1, that `tensors` subtracts; empty for tokens.
        std: standard deviation of each channel, on the same scale, that `tensors` divides by; empty for tokens.
    """

    name: str
    shape: tuple[int, ...]
    classes: int
    train: int
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def tokens(self) -> bool:
        """Whether these are sequences of tokens."""
        return len(self.shape) == 1


@dataclass(frozen=True, eq=False)
class ImageSet:
    """An image set: uint8 images [N, C, H, W] and int64 labels [N], for training and for testing.

    A set of sequences has tokens [N, T] of any integer type, and int64 labels [N, T]: what is to follow each token, or
    `NOT_COUNTED`.
    """

    info: DataInfo
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def splits(train: int, validation: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Split the training images at random, into sorted indices of those that train and of those held back.

    Args:
        train: number of training images of the set.
        validation: how many to hold back.
        seed: of the draw.

    Raises:
        ShapPruneError: no image is left to train on.

    Examples:
        >>> from shapprune.data import prepared
        >>> training, held_back = prepared.splits(train=10, validation=3)
        >>> len(training), len(held_back), len(set(training) & set(held_back))
        (7, 3, 0)
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
        indices: the images, in this order; by default all.

    Returns:
        float32 images [N, C, H, W], scaled from 0..255 to 0..1, minus the mean and divided by the std of each channel,
        and int64 labels [N]; or tokens and labels, both int64 [N, T].

    Examples:
        >>> import numpy as np
        >>> from shapprune.data import prepared, sets
        >>> images, labels = prepared.tensors(sets.load("digits"), "test", np.array([5, 0, 7]))
        >>> images.shape, images.dtype, labels.dtype
        (torch.Size([3, 1, 8, 8]), torch.float32, torch.int64)
    """
    import torch

    if part not in ("train", "test"):
        raise unknown("part of the data", part, ("train", "test"))
    images: np.ndarray = getattr(image_set, f"{part}_images")
    labels: np.ndarray = getattr(image_set, f"{part}_labels")
    if indices is not None:
        images, labels = images[indices], labels[indices]
    if image_set.info.tokens:
        return torch.from_numpy(images.astype(np.int64)), torch.tensor(labels)
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (image_set.info.mean, image_set.info.std))
    return torch.from_numpy(images.astype(np.float32)).div_(255).sub_(mean).div_(std), torch.tensor(labels)


def write_prepared(path: str | Path, image_set: ImageSet) -> None:
    """Write an image set as an uncompressed ``.npz``, and its facts under the same stem as ``.json``.

    The manifest holds the fields of `DataInfo` and ``md5``, of the bytes of the four arrays.
    """
    path = Path(path)
    arrays = {name: getattr(image_set, name) for name in ARRAYS}
    with whole(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)
    manifest = asdict(image_set.info) | {"md5": arrays_md5(image_set)}
    write_json(path.with_suffix(".json"), manifest)


def arrays_md5(image_set: ImageSet) -> str:
    """The MD5 of the bytes of the four arrays, labels as int64."""
    return md5_of(getattr(image_set, name) for name in ARRAYS)


def read_prepared(path: str | Path) -> ImageSet:
    """Read what `write_prepared` wrote.

    Raises:
        ShapPruneError: one of the two files is missing, damaged or does not belong to the other.
    """
    path = Path(path)
    arrays = read_arrays(path)
    try:
        manifest: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        md5 = manifest.pop("md5")
        lists = {key: tuple(value) for key, value in manifest.items() if isinstance(value, list)}
        info = DataInfo(**(manifest | lists))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShapPruneError(
            f"{path.with_suffix('.json')} is missing or damaged ({error!r}); delete {path} and make it again"
        ) from error
    if md5_of(arrays) != md5:
        raise ShapPruneError(
            f"{path} does not hold the images that {path.with_suffix('.json').name} was written for; delete both and"
            " make them again"
        )
    return check_image_set(info, arrays)


def require_data(facts: Mapping[str, Any], prepared: str | Path) -> None:
    """Raise unless a network was made from the present data set.

    Args:
        facts: the network's manifest.
        prepared: the data set's ``.npz``.

    Raises:
        ShapPruneError: the data set has changed since.
    """
    name, md5 = facts["data"]["name"], read_json(Path(prepared).with_suffix(".json"))["md5"]
    if facts["data"]["md5"] != md5:
        raise ShapPruneError(
            f"the images of data set {name!r} have changed (their MD5 was {facts['data']['md5']}, now it is {md5}), but"
            f" neither its function nor a DVC pointer data/{name}.dvc has, by which results are kept: add the pointer"
        )


def read_arrays(path: Path) -> Arrays:
    """Read the four arrays of an ``.npz``.

    Raises:
        ShapPruneError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            train_images, train_labels, test_images, test_labels = (archive[name] for name in ARRAYS)
    except FileNotFoundError as error:
        raise ShapPruneError(f"{path} does not exist") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ShapPruneError(f"{path} is damaged ({error}); delete it and make it again") from error
    return train_images, train_labels, test_images, test_labels


def check_image_set(info: DataInfo, arrays: Arrays) -> ImageSet:
    """Make an image set of four arrays.

    Raises:
        ShapPruneError: their counts or shapes are not those of ``info``.
    """
    train_images, train_labels, test_images, test_labels = arrays
    image_set = ImageSet(info, train_images, train_labels.astype(np.int64), test_images, test_labels.astype(np.int64))
    for part, count in (("train", info.train), ("test", info.test)):
        found = getattr(image_set, f"{part}_images").shape
        labelled = (count, *info.shape) if info.tokens else (count,)
        if found != (count, *info.shape) or getattr(image_set, f"{part}_labels").shape != labelled:
            raise ShapPruneError(
                f"the {part} part of {info.name} should be {count} labelled images {list(info.shape)},"
                f" not {list(found)}"
            )
    return image_set


def md5_of(arrays: Iterable[np.ndarray]) -> str:
    """The MD5 of the bytes of arrays, joined."""
    md5 = hashlib.md5(usedforsecurity=False)
    for array in arrays:
        md5.update(np.ascontiguousarray(array).data)
    return md5.hexdigest()
