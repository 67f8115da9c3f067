"""Files of the public data sets: MNIST, Fashion-MNIST and CIFAR-10 as they are published, and pictures of ImageNet.

References:
    Y. LeCun, C. Cortes, C. Burges: The MNIST database of handwritten digits, 1998.
    H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST, https://arxiv.org/abs/1708.07747
    A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009 (CIFAR-10).
    O. Russakovsky et al.: ImageNet Large Scale Visual Recognition Challenge, https://arxiv.org/abs/1409.0575; of each
        class the picture in https://github.com/EliSchwartz/imagenet-sample-images.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from shapprune.core.errors import ShapPruneError
from shapprune.core.files import checksum
from shapprune.data.prepared import Arrays

# Full sets that can be downloaded -> their classes in torchvision.
DOWNLOADS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10"}
_IDX_FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
_IDX_FILES = {  # name: (shape, MD5 of its .gz in MNIST, and in Fashion-MNIST)
    "train-images-idx3-ubyte": (
        (60000, 28, 28),
        {"mnist": "f68b3c2dcbeaaa9fbdd348bbdeb94873", "fashion-mnist": "8d4fb7e6c68d591d4c3dfef9ec88bf0d"},
    ),
    "train-labels-idx1-ubyte": (
        (60000,),
        {"mnist": "d53e105ee54ea40749a09fcbcd1e9432", "fashion-mnist": "25c81989df183df01b3e8a0aad5dffbe"},
    ),
    "t10k-images-idx3-ubyte": (
        (10000, 28, 28),
        {"mnist": "9fb629c4189551a2d022fa330f9573f3", "fashion-mnist": "bef4ecab320f06d8554ea6380940ec79"},
    ),
    "t10k-labels-idx1-ubyte": (
        (10000,),
        {"mnist": "ec29112dd5afa0611ce80d1b7f02629c", "fashion-mnist": "bb300cfdad3c16e7a12a480ee83cd310"},
    ),
}
_CIFAR_FILES = {  # of the binary version
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
# The pictures of imagenet-sample: how many, their side, the side of the centre that is used, how many are for training.
_PICTURES, _PICTURE_SIDE, _CENTRE, _PICTURES_TRAIN = 1000, 256, 224, 500


def read(name: str, folder: Path) -> Arrays | None:
    """Read a full data set from a folder.

    Args:
        name: ``"mnist"``, ``"fashion-mnist"``, ``"cifar10"`` or ``"imagenet-sample"``.
        folder: holds ``MNIST/raw`` or ``FashionMNIST/raw`` with the four files, packed or not; of CIFAR-10
            ``cifar-10-batches-bin`` (binary version) or ``cifar-10-batches-py`` (Python version); of ImageNet
            ``imagenet-sample`` with a folder for each class.

    Returns:
        uint8 images [N, C, H, W] and labels [N] of the training and of the test part; None if a file is missing.

    Raises:
        ShapPruneError: a file is damaged.
    """
    if name in _IDX_FOLDERS:
        return _read_idx(name, folder / _IDX_FOLDERS[name] / "raw")
    if name == "imagenet-sample":
        return _read_pictures(folder / name)
    return _read_cifar_binary(folder / "cifar-10-batches-bin") or _read_cifar_python(folder)


def download(name: str, folder: Path) -> None:
    """Download a full data set, one of `DOWNLOADS`, into a folder, by torchvision.

    Raises:
        ShapPruneError: the download failed or is damaged.
    """
    from shapprune.data.vision import torchvision

    try:
        folder.mkdir(parents=True, exist_ok=True)
        getattr(torchvision.datasets, DOWNLOADS[name])(folder, download=True)
    except (OSError, RuntimeError) as error:  # torchvision raises either if a server does not answer
        raise ShapPruneError(
            f"{name} could not be downloaded into {folder} ({error}); put its files there by hand, as data/README.md"
            " says, or name the folder that has them in SHAPPRUNE_DATA"
        ) from error


def digits() -> Arrays:
    """The 8x8 digits of scikit-learn: 36 images of each class for testing, the others for training.

    Raises:
        ShapPruneError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ShapPruneError("the data set 'digits' comes with scikit-learn: pip install scikit-learn") from error
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    shuffled = np.random.default_rng(0).permutation(len(images))
    test = np.sort(np.concatenate([shuffled[digits.target[shuffled] == label][:36] for label in range(10)]))
    train = np.setdiff1d(np.arange(len(images)), test)
    return images[train], digits.target[train], images[test], digits.target[test]


def _read_idx(name: str, folder: Path) -> Arrays | None:
    arrays = []
    for stem, (shape, sums) in _IDX_FILES.items():
        packed, plain = folder / f"{stem}.gz", folder / stem
        if packed.is_file():
            _check_md5(packed, sums[name])
            content = gzip.decompress(packed.read_bytes())
        elif plain.is_file():
            content = plain.read_bytes()
        else:
            return None
        # Two zeros, 8 for unsigned bytes, the number of dimensions, then each of them as four bytes.
        header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
        if not content.startswith(header) or len(content) != len(header) + np.prod(shape):
            raise ShapPruneError(f"{plain} is damaged: it does not hold {shape[0]} items; move it away and run again")
        arrays.append(np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape))
    return arrays[0][:, None], arrays[1], arrays[2][:, None], arrays[3]


def _read_cifar_binary(folder: Path) -> Arrays | None:
    if not all((folder / name).is_file() for name in _CIFAR_FILES):
        return None
    rows = []
    for name, md5 in _CIFAR_FILES.items():
        _check_md5(folder / name, md5)
        rows.append(np.fromfile(folder / name, np.uint8).reshape(10000, 1 + 3 * 32 * 32))  # label, red, green, blue
    train, test = np.concatenate(rows[:-1]), rows[-1]
    return train[:, 1:].reshape(-1, 3, 32, 32), train[:, 0], test[:, 1:].reshape(-1, 3, 32, 32), test[:, 0]


def _read_cifar_python(folder: Path) -> Arrays | None:
    if not (folder / "cifar-10-batches-py").is_dir():
        return None
    from shapprune.data.vision import torchvision

    try:  # torchvision checks the MD5 of each file before it opens it
        train, test = (torchvision.datasets.CIFAR10(folder, train=part) for part in (True, False))
    except RuntimeError as error:
        raise ShapPruneError(
            f"{folder / 'cifar-10-batches-py'} is damaged or not complete; move it away and run again"
        ) from error
    images = [part.data.transpose(0, 3, 1, 2) for part in (train, test)]
    labels = [np.array(part.targets, np.uint8) for part in (train, test)]
    return images[0], labels[0], images[1], labels[1]


def _read_pictures(folder: Path) -> Arrays | None:
    """The centres of ImageNet's pictures, one a class; a fixed half of them for training."""
    if not folder.is_dir():
        return None
    from shapprune.data.folders import open_folder

    (part,) = open_folder(folder)[:1]
    if not len(part.files) == len(part.classes) == _PICTURES:
        raise ShapPruneError(
            f"{folder} holds {len(part.files)} pictures of {len(part.classes)} classes, not one of each of the"
            f" {_PICTURES:,} classes"
        )
    edge = (_PICTURE_SIDE - _CENTRE) // 2
    images = part.read(np.arange(_PICTURES), 3, (_PICTURE_SIDE, _PICTURE_SIDE))[..., edge:-edge, edge:-edge]
    shuffled = np.random.default_rng(0).permutation(_PICTURES)
    train, test = np.sort(shuffled[:_PICTURES_TRAIN]), np.sort(shuffled[_PICTURES_TRAIN:])
    return images[train], part.labels[train], images[test], part.labels[test]


def _check_md5(path: Path, expected: str) -> None:
    if (found := checksum(path, "md5")) != expected:
        raise ShapPruneError(
            f"{path} is damaged: its MD5 is {found}, not the published {expected}; move it away and run again"
        )
