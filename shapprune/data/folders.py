"""Images of one's own in a folder for each class, as torchvision's ImageFolder has them, or without classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shapprune.core.errors import ShapPruneError, few
from shapprune.data.folder_parts import find_parts
from shapprune.data.image_files import ImageFiles, folders_in, images_in, no_images


@dataclass(frozen=True, eq=False)
class ImageFolder(ImageFiles):
    """Images in folders by class, the files ordered by class.

    Attributes:
        classes: names of the classes; a label is an index into them.
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
    files = () if not root.is_dir() or folders_in(root) else tuple(images_in(root))
    return ImageFiles(root, files) if files else None


def open_folder(root: str | Path, classes: Sequence[str] = ()) -> list[ImageFolder]:
    """Find the images of a folder: ``root/CLASS/...``, or the same below ``root/train``, ``root/val`` and the like.

    Which folders are parts says `shapprune.data.folder_parts.find_parts`; the first two are taken. Images may lie at
    any depth below their class. Hidden files and folders are ignored, and folders that networks were written to.

    Args:
        root: the folder.
        classes: names of the classes in the order of their labels, where they are known; folders of some suffice
            then. By default the names of the folders, sorted.

    Returns:
        One part, or two of the same classes.

    Raises:
        ShapPruneError: the folder does not exist, it holds no images or fewer than two classes, a class has no images
            in the first part, there is a class that is not known or that the first part does not have, or it cannot be
            told which folders are parts.
    """
    root = Path(root)
    if not root.is_dir():
        raise ShapPruneError(f"{root} is not a folder")
    first, *more = find_parts(root) or [root]
    part = _part(first, tuple(classes))
    return [part, *(open_more(each, part) for each in more[:1])]


def open_more(root: Path, first: ImageFolder) -> ImageFolder:
    """Find images in other folders of the classes of a part; a class may have none.

    Raises:
        ShapPruneError: there are none, or a class that the part does not have.
    """
    if more := sorted(set(folders_in(root)) - set(first.classes)):
        raise ShapPruneError(f"{root} has a class {more[0]!r} that {first.root} has not")
    part = _listed(root, first.classes)
    if not part.files:
        raise no_images(root)
    return part


def _part(root: Path, known: tuple[str, ...]) -> ImageFolder:
    """The images below a folder, of the classes that are known, or else of those whose folders are there."""
    folders = folders_in(root)
    if known and (strangers := [name for name in folders if name not in known]):
        raise ShapPruneError(
            f"{root} has a class {strangers[0]!r} that the network has not: its classes are {few(known)}"
        )
    if len(folders) < (1 if known else 2):
        if not images_in(root):
            raise no_images(root)
        raise ShapPruneError(
            f"{root} has {len(folders)} folders of classes, two or more are needed: {root}/CLASS/IMAGE.png"
        )
    part = _listed(root, known or tuple(folders))
    if empty := [name for name in folders if part.classes.index(name) not in part.labels]:
        raise no_images(root / empty[0])
    return part


def _listed(root: Path, classes: tuple[str, ...]) -> ImageFolder:
    """The images of these classes."""
    found = [(file, label) for label, name in enumerate(classes) for file in images_in(root / name)]
    files, labels = [file for file, _ in found], [label for _, label in found]
    return ImageFolder(root, tuple(files), classes, np.array(labels, np.int64))
