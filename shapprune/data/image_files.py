"""Files of images: which ones a folder holds, and their pixels, read on demand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track

ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
MODES = {1: "L", 3: "RGB"}  # channels -> what Pillow calls them
# Folders that programs leave among images; those whose name begins with a dot are hidden.
_LEFT_BY_PROGRAMS = ("__MACOSX", "__pycache__", "@eaDir")


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Images in a folder, read on demand by `read`.

    Attributes:
        root: the folder.
        files: path of each image.
    """

    root: Path
    files: tuple[Path, ...]

    def size(self) -> tuple[int, int]:
        """Height and width of the first image."""
        image = _open(self.files[0])
        return image.height, image.width

    def read(self, places: np.ndarray, channels: int, size: tuple[int, int], resize: bool = False) -> np.ndarray:
        """Read some of the images.

        Args:
            places: their indices in ``files``, int [n].
            channels: 3 for colours, 1 for grey; images are converted.
            size: height and width in pixels.
            resize: resize images of another size bilinearly, as little as needed to cover this size, and crop the
                rest centrally. By default they are refused.

        Returns:
            uint8 [n, channels, height, width].

        Raises:
            ShapPruneError: an image that cannot be read, or of another size without ``resize``.
        """
        images = np.empty((len(places), channels, *size), np.uint8)
        for slot, place in zip(images, track(places, "reading images"), strict=True):
            image = _open(self.files[place], MODES[channels])
            if resize:
                image = ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR)
            elif (image.height, image.width) != size:
                raise ShapPruneError(
                    f"{self.files[place]} has {image.height} x {image.width} pixels, but {self.files[0]}"
                    f" {size[0]} x {size[1]}; give the size that all shall have (--size HEIGHT WIDTH)"
                )
            slot[:] = np.asarray(image).reshape(*size, channels).transpose(2, 0, 1)
        return images


def folders_in(root: Path) -> list[str]:
    """Names of the folders of a folder, sorted, without those that are hidden, left by programs, or hold networks."""
    return sorted(
        each.name for each in root.iterdir() if each.is_dir() and _is_seen(each.name) and not _is_result(each)
    )


def images_in(root: Path) -> list[Path]:
    """Files of images at any depth, sorted, also behind links to folders."""
    return sorted(_walk(root))


def holds_images(root: Path) -> bool:
    """Whether there is an image at any depth."""
    return next(_walk(root), None) is not None


def no_images(folder: Path) -> ShapPruneError:
    """The error of a folder without images."""
    return ShapPruneError(f"{folder} holds no images; they are known by {', '.join(ENDINGS)}")


def _walk(root: Path) -> Iterator[Path]:
    above: dict[str, tuple[str, ...]] = {}  # folder -> where it and those above it really are, to leave circles out
    for folder, folders, files in os.walk(root, followlinks=True):
        here, outer = os.path.realpath(folder), above.get(os.path.dirname(folder), ())
        if here in outer:
            folders.clear()
            continue
        above[folder] = (*outer, here)
        folders[:] = filter(_is_seen, folders)
        for name in files:
            if name.lower().endswith(ENDINGS) and _is_seen(name):
                yield Path(folder, name)


def _is_seen(name: str) -> bool:
    return not name.startswith(".") and name not in _LEFT_BY_PROGRAMS


def _is_result(folder: Path) -> bool:
    """Whether networks lie in a folder, or one folder below, as those that `prune` wrote do beside their figures."""
    return any(next(folder.glob(pattern), None) for pattern in ("*.safetensors", "*/*.safetensors"))


def _open(file: Path, mode: str | None = None) -> Image.Image:
    """Read and decode an image, and convert it.

    Raises:
        ShapPruneError: it cannot be read, or has more than 8 bits a channel.
    """
    try:
        with Image.open(file) as image:
            image.load()
        if image.mode.startswith(("I", "F")):
            raise ShapPruneError(f"{file} has more than 8 bits a channel; only images of 8 bits are read")
        return image if mode is None else image.convert(mode)
    except ShapPruneError:
        raise
    except Exception as error:  # a damaged file may make the decoder raise anything
        raise ShapPruneError(f"{file} cannot be read as an image: {error}") from error
