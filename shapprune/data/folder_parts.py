"""Which folders are parts of an image set, such as ``train`` and ``val``, and not classes."""

from __future__ import annotations

import re
from pathlib import Path

from shapprune.core.errors import ShapPruneError
from shapprune.data.image_files import folders_in, holds_images

_TRAINING = ("train", "training")
# The order in which they are taken to evaluate on.
_OTHERS = ("val", "valid", "validation", "dev", "development", "eval", "evaluation", "test", "testing")
_PLACES = {word: place for place, word in enumerate([*_TRAINING, *_OTHERS])}
_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+")  # TrainSet has two words, TRAIN one
_ADDED = re.compile("(data|images|set)$")


def find_parts(root: Path) -> list[Path]:
    """Find the folders that are parts: they are called so, and have folders of images.

    A word of the name says it, in any case: ``Training``, ``test_set``, ``seg_train``, ``trainData``. A part without
    folders, such as test images whose classes nobody tells, is left out; so is a folder beside parts that has none.

    Args:
        root: the folder.

    Returns:
        The parts: those for training, for validation, for testing; none where the folders are classes.

    Raises:
        ShapPruneError: there are two parts for training, none of the parts has folders, a part holds no images, or
            beside parts there is a folder that has such folders but is not called a part.
    """
    folders = folders_in(root)
    named = sorted((place, name) for name in folders if (place := _place(name)) is not None)
    parts = [name for _, name in named if _has_folders_of_images(root / name)]
    if not parts:
        _refuse_without_classes(root, folders)
        return []
    if len(twice := [name for name in parts if _place(name) in range(len(_TRAINING))]) > 1:
        raise ShapPruneError(f"{root} has two parts for training, {twice[0]} and {twice[1]}: give one of them")
    for name in set(folders) - {name for _, name in named}:
        if _has_folders_of_images(root / name):
            raise ShapPruneError(
                f"{root} has {' and '.join(parts)} with folders of images, and beside them {name} with such folders,"
                " which is not called a part (train, val, test ...): give one of them, or rename it"
            )
    return [root / name for _, name in named if name in parts or not holds_images(root / name)]


def _words(name: str) -> list[str]:
    """The words of a name, without what is added to the words of parts."""
    return [word for each in _WORD.findall(name) if (word := _ADDED.sub("", each.lower()))]


def _place(name: str) -> int | None:
    """The place of a part among others by the words of its name; None for a name that is not one of a part."""
    return min((_PLACES[word] for word in _words(name) if word in _PLACES), default=None)


def _has_folders_of_images(folder: Path) -> bool:
    return any(holds_images(folder / name) for name in folders_in(folder))


def _refuse_without_classes(root: Path, names: list[str]) -> None:
    """Raise where all folders are called parts and nothing else, and have images but no classes."""
    called = [(words := _words(name)) and _PLACES.keys() >= {*words} for name in names]
    if all(called) and any(holds_images(root / name) for name in names):
        raise ShapPruneError(
            f"{root} has the parts {' and '.join(names)}, but no folders of classes in them; images without classes lie"
            f" directly in the folder that is given, as in {root / names[0]}"
        )
