"""Images of one's own as files: in a folder for each class, as torchvision's ImageFolder has them, or without classes.

Images are read on demand.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track

ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
MODES = {1: "L", 3: "RGB"}  # channels -> what Pillow calls them
_FIRST_PARTS, _SECOND_PARTS = ("train",), ("val", "valid", "validation", "test")


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
            image = _open(self.files[place]).convert(MODES[channels])
            if resize:
                image = ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR)
            elif (image.height, image.width) != size:
                raise ShapPruneError(
                    f"{self.files[place]} has {image.height} x {image.width} pixels, but {self.files[0]}"
                    f" {size[0]} x {size[1]}; give the size that all shall have (--size HEIGHT WIDTH)"
                )
            slot[:] = np.asarray(image).reshape(*size, channels).transpose(2, 0, 1)
        return images


@dataclass(frozen=True, eq=False)
class ImageFolder(ImageFiles):
    """Images in folders by class, the files ordered by class.

    Attributes:
        classes: names of the folders of the classes, sorted; a label is an index into them.
        labels: label of each image, int64 [N].
    """

    classes: tuple[str, ...]
    labels: np.ndarray


def open_flat_folder(root: str | Path) -> ImageFiles | None:
    """Find the images that lie directly in a folder without folders; None if it has folders or no images.

    Args:
        root: the folder.
    """
    root = Path(root)
    files = () if not root.is_dir() or _folders_in(root) else tuple(_images_in(root))
    return ImageFiles(root, files) if files else None


def open_folder(root: str | Path) -> list[ImageFolder]:
    """Find the images of a folder: ``root/CLASS/...``, or the same below ``root/train`` and ``root/val``.

    Instead of ``val`` the second part may be called ``valid``, ``validation`` or ``test``; the first of these that
    exists is taken. Images may lie at any depth below their class. Hidden files and folders are ignored.

    Args:
        root: the folder.

    Returns:
        One part, or two of the same classes.

    Raises:
        ShapPruneError: the folder does not exist, it holds no images or fewer than two classes, a class has no images
            in the first part, or the second part has a class that the first does not have.
    """
    root = Path(root)
    if not root.is_dir():
        raise ShapPruneError(f"{root} is not a folder")
    names = _folders_in(root)
    first = next((name for name in _FIRST_PARTS if name in names), None)
    if first is None or not set(names) <= {*_FIRST_PARTS, *_SECOND_PARTS}:
        return [_part(root, names)]
    second = next((name for name in _SECOND_PARTS if name in names), None)
    parts = [_part(root / first, _folders_in(root / first))]
    if second is not None:
        parts.append(open_more(root / second, parts[0]))
    return parts


def open_more(root: Path, first: ImageFolder) -> ImageFolder:
    """Find images in other folders of the classes of a part; a class may have none.

    Raises:
        ShapPruneError: there are none, or a class that the part does not have.
    """
    if more := sorted(set(_folders_in(root)) - set(first.classes)):
        raise ShapPruneError(f"{root} has a class {more[0]!r} that {first.root} has not")
    part = _listed(root, first.classes)
    if not part.files:
        raise _no_images(root)
    return part


def _part(root: Path, classes: list[str]) -> ImageFolder:
    if len(classes) < 2:
        if not _images_in(root):
            raise _no_images(root)
        raise ShapPruneError(
            f"{root} has {len(classes)} folders of classes, two or more are needed: {root}/CLASS/IMAGE.png"
        )
    part = _listed(root, tuple(classes))
    if empty := [name for label, name in enumerate(classes) if label not in part.labels]:
        raise _no_images(root / empty[0])
    return part


def _listed(root: Path, classes: tuple[str, ...]) -> ImageFolder:
    """The images of these classes."""
    found = [(file, label) for label, name in enumerate(classes) for file in _images_in(root / name)]
    files, labels = [file for file, _ in found], [label for _, label in found]
    return ImageFolder(root, tuple(files), classes, np.array(labels, np.int64))


def _folders_in(root: Path) -> list[str]:
    return sorted(each.name for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))


def _images_in(root: Path) -> list[Path]:
    return sorted(
        file
        for file in root.rglob("*")
        if file.suffix.lower() in ENDINGS and not any(part.startswith(".") for part in file.relative_to(root).parts)
    )


def _no_images(folder: Path) -> ShapPruneError:
    return ShapPruneError(f"{folder} holds no images; they are known by {', '.join(ENDINGS)}")


def _open(file: Path) -> Image.Image:
    """Read and decode an image.

    Raises:
        ShapPruneError: it cannot be read, or has more than 8 bits a channel.
    """
    try:
        with Image.open(file) as image:
            image.load()
    except Exception as error:  # a damaged file may make the decoder raise anything
        raise ShapPruneError(f"{file} cannot be read as an image: {error}") from error
    if image.mode.startswith(("I", "F")):
        raise ShapPruneError(f"{file} has more than 8 bits a channel; only images of 8 bits are read")
    return image
