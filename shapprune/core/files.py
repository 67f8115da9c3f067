"""Atomic writing of files (under a temporary name, then renamed), checksums, and JSON."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shapprune.core.errors import ShapPruneError


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to ``path`` when the block ends without an error.

    The folder is made if it is missing. After an error no temporary file remains.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays, because numpy and others choose the format by it.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        os.replace(temporary, path)


def checksum(path: Path, algorithm: str) -> str:
    """The digest of a file (``"md5"`` or ``"sha256"``) as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def write_json(path: str | Path, content: object) -> None:
    """Write JSON, completely or not at all.

    Raises:
        ShapPruneError: a number is not finite.
    """
    check_finite(content, path)
    with whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def check_finite(content: object, what: object) -> None:
    """Raise where a number of a result is not finite; neither JSON nor a table can hold it.

    Args:
        content: mappings, lists and numbers.
        what: it is of, for the message.

    Raises:
        ShapPruneError: the message names the first such number.

    Examples:
        >>> from shapprune.core.files import check_finite
        >>> check_finite({"after": {"loss": float("nan")}}, "model.json")
        Traceback (most recent call last):
        shapprune.core.errors.ShapPruneError: model.json: after.loss is nan, not a finite number
    """
    for key, value in _numbers(content):
        if not math.isfinite(value):
            raise ShapPruneError(f"{what}: {key} is {value}, not a finite number")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read the object in a JSON file.

    Raises:
        ShapPruneError: the file is missing or damaged.
    """
    try:
        return dict(json.loads(Path(path).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ShapPruneError(f"{path} is missing or damaged ({error}); make it again") from error


def _numbers(content: object, key: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(content, Mapping):
        for name, each in content.items():
            yield from _numbers(each, f"{key}.{name}".lstrip("."))
    elif isinstance(content, list | tuple):
        for place, each in enumerate(content):
            yield from _numbers(each, f"{key}[{place}]")
    elif isinstance(content, float):
        yield key, content
