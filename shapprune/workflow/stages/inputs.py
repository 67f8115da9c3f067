"""Digests that stand for data sets and weights in keys, known without reading images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

from shapprune.core.errors import ShapPruneError
from shapprune.core.files import checksum
from shapprune.data.sets import KNOWN_MD5


@cache
def _pointer(path: Path) -> str | None:
    """The MD5 in a DVC pointer, or those of all files that it names; None where there is no pointer.

    Raises:
        ShapPruneError: the file is no DVC pointer.
    """
    try:
        first, *others = yaml.safe_load(path.read_text())["outs"]
        return ",".join(str(out["md5"]) for out in (first, *others))
    except FileNotFoundError:
        return None
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise ShapPruneError(f"{path} is not a DVC pointer ({error})") from error


def data_of(name: str, datasets: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The digest of the images of a data set, and the functions that load them.

    It is the known MD5 of a set that comes with the package; for one's own, the MD5 in the pointer ``data/{name}.dvc``
    where there is one, and the code of its function.
    """
    if name not in datasets:
        return KNOWN_MD5[name], ()
    return _pointer(Path("data") / f"{name}.dvc") or "", (datasets[name],)


@cache
def _digest_of(path: str) -> str:
    return _pointer(Path(f"{path}.dvc")) or checksum(Path(path), "sha256")


def weights_of(weights: str | Mapping[str, str]) -> str:
    """The digest of the weights of a network that is not trained here."""
    return _digest_of(weights) if isinstance(weights, str) else weights["sha256"].lower()
