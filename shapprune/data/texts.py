"""Texts as sequences of tokens, each labelled by what is to follow. Importing this module does not import torch.

References:
    A. Karpathy: The unreasonable effectiveness of recurrent neural networks, 2015, for Tiny Shakespeare
        (https://github.com/karpathy/char-rnn).
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shapprune.core.errors import ShapPruneError
from shapprune.data.prepared import ARRAYS, NOT_COUNTED, DataInfo, ImageSet, check_image_set

# Texts that come with the package: their file in data/, files that others have, and the MD5 of their bytes, unpacked.
TEXTS = {
    "tiny-shakespeare": (
        ("tiny-shakespeare.txt.bz2", "text/tinyshakespeare.txt", "text/tinyshakespeare.txt.gz"),
        "6fb458f1232090904fb40fe944165e91",
    )
}
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_TENTHS = 9  # of a text are for training, the last one is for testing


def read_text(source: str, folders: Sequence[Path]) -> str:
    """Read a text.

    Args:
        source: a name in `TEXTS`, or a file in UTF-8, also packed (``.gz``, ``.bz2``, ``.xz``).
        folders: where a text with a name is looked for.

    Raises:
        ShapPruneError: there is no such file, it is damaged, or it is no text in UTF-8.
    """
    if source not in TEXTS:
        return _decode(_unpack(Path(source)), source)
    files, md5 = TEXTS[source]
    for path in (folder / file for folder in folders for file in files):
        if path.is_file():
            content = _unpack(path)
            if (found := hashlib.md5(content, usedforsecurity=False).hexdigest()) != md5:
                raise ShapPruneError(f"{path} is not {source}: its MD5 is {found}, not {md5}; move it away")
            return _decode(content, source)
    raise ShapPruneError(
        f"{source} is not in {' or '.join(map(str, folders))}; it comes with the repository, in data/{files[0]}"
    )


def characters_of(text: str) -> str:
    """The characters of a text in the order of their tokens, 0 and up.

    Examples:
        >>> from shapprune.data.texts import characters_of
        >>> characters_of("banana")
        'abn'
    """
    return "".join(sorted(set(text)))


def _by_characters(text: str) -> np.ndarray:
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    return (np.cumsum(np.bincount(codes) > 0) - 1)[codes]  # by counting, which is faster than by sorting


# Names of what makes tokens of a text, [M].
TOKENIZERS: dict[str, Callable[[str], np.ndarray]] = {"characters": _by_characters}


def make_text_set(text: str, name: str, length: int, tokenizer: str = "characters") -> ImageSet:
    """Make sequences of a text.

    The last tenth of the text is for testing. Both parts are cut into pieces of ``length + 1`` tokens, which have none
    in common: all but the last are the tokens of a sequence, all but the first its labels. What is left over at
    the end of a part is not used.

    Args:
        text: the text.
        name: of the set.
        length: tokens in a sequence.
        tokenizer: ``characters`` takes each character for a token, numbered as in `characters_of`.

    Raises:
        ShapPruneError: the text is too short for one sequence in each part.

    Examples:
        >>> from shapprune.data.texts import make_text_set
        >>> shouts = make_text_set("ah oh! " * 20, "shouts", length=4)
        >>> shouts.train_images[:2].tolist(), shouts.train_labels[:2].tolist()
        ([[2, 3, 0, 4], [1, 0, 2, 3]], [[3, 0, 4, 3], [0, 2, 3, 0]])
        >>> shouts.info.train, shouts.info.test, shouts.info.classes
        (25, 2, 5)
    """
    tokens = TOKENIZERS[tokenizer](text)
    middle = len(tokens) * _TENTHS // (_TENTHS + 1)
    return make_token_set((tokens[:middle], tokens[middle:]), name, length, f"text {name!r}")


def make_token_set(arrays: Sequence[np.ndarray], name: str, length: int, what: str) -> ImageSet:
    """Make a set of sequences of tokens.

    Args:
        arrays: the tokens of the training and of the test text, whole numbers [M] from 0 on, which are cut as
            `make_text_set` says; or training tokens [N, length] and labels [N, length], then those for testing. A label
            is what is to follow its token, or -100 where that does not count.
        name: of the set.
        length: tokens in a sequence.
        what: they are, for error messages.

    Raises:
        ShapPruneError: an array has a wrong type, shape or number, or no label of a sequence counts.
    """
    if len(arrays) not in (2, len(ARRAYS)):
        raise ShapPruneError(f"{what} must return two arrays of tokens or four with labels, not {len(arrays)}")
    for array in arrays:
        if array.dtype.kind not in "iu" or array.ndim != len(arrays) // 2:
            raise ShapPruneError(
                f"{what}: tokens must be whole numbers, [M] for training and for testing, or [N, {length}] with labels"
                f" [N, {length}] for each, not {array.dtype} {list(array.shape)}"
            )
    if len(arrays) == 2:
        arrays = [part for stream in arrays for part in _cut(stream, length, what)]
    train, train_labels, test, test_labels = arrays
    for part, tokens, labels in (("train", train, train_labels), ("test", test, test_labels)):
        check_sequences(tokens, labels, length, f"{what}, {part} part")
    most = max(int(array.max()) for array in arrays)
    info = DataInfo(name, (length,), most + 1, len(train), len(test), (), ())
    number = np.min_scalar_type(most)
    return check_image_set(info, (train.astype(number), train_labels, test.astype(number), test_labels))


def _cut(tokens: np.ndarray, length: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Cut tokens [M] into sequences [N, length] and their labels [N, length]."""
    if len(tokens) <= length:
        raise ShapPruneError(
            f"{what}: {len(tokens)} tokens in one of its parts are too few, a sequence of {length} takes {length + 1};"
            " the last tenth of a text is for testing"
        )
    pieces = tokens[: len(tokens) // (length + 1) * (length + 1)].reshape(-1, length + 1)
    return pieces[:, :-1], pieces[:, 1:]


def check_sequences(tokens: np.ndarray, labels: np.ndarray, length: int, what: str) -> None:
    """Raise unless whole numbers are tokens [N, length] and labels [N, length] as `make_token_set` takes them.

    Raises:
        ShapPruneError: they have other shapes, one is below 0, or no label of a sequence counts.
    """
    if tokens.shape != labels.shape or tokens.shape[1] != length or not len(tokens):
        raise ShapPruneError(
            f"{what}: tokens and labels must be [N, {length}], not {list(tokens.shape)} and {list(labels.shape)}"
        )
    counted = labels != NOT_COUNTED
    if tokens.min() < 0 or (low := labels.min(where=counted, initial=0)) < 0:
        wrong = tokens.min() if tokens.min() < 0 else low
        raise ShapPruneError(f"{what}: tokens are 0 and up, and so are labels that are not {NOT_COUNTED}, not {wrong}")
    if not counted.any(1).all():
        raise ShapPruneError(f"{what}: sequence {int(np.flatnonzero(~counted.any(1))[0])} has no label that counts")


def _unpack(path: Path) -> bytes:
    opener = _OPENERS.get(path.suffix, open)
    try:
        with opener(path, "rb") as file:
            content: bytes = file.read()
            return content
    except FileNotFoundError as error:
        raise ShapPruneError(f"there is no text {path}") from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ShapPruneError(f"{path} cannot be read: {error}") from error


def _decode(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ShapPruneError(f"{source} is no text in UTF-8: {error.reason} at byte {error.start:,}") from error
