"""Digests that stand for data sets and weights in keys, known without reading images; texts are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from shapprune.core.errors import ShapPruneError
from shapprune.core.files import checksum
from shapprune.data.prepared import DataInfo, arrays_md5
from shapprune.data.sets import KNOWN_MD5, load_own
from shapprune.data.texts import TEXTS


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


@cache
def _text_of(source: str, tokenizer: str, length: int) -> tuple[DataInfo, str]:
    text_set = load_own({"source": source, "tokenizer": tokenizer, "length": length}, source)
    return text_set.info, arrays_md5(text_set)


def data_of(name: str, datasets: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The digest of the images of a data set, and the functions that load them.

    It is the known MD5 of a set that comes with the package, and the MD5 of a text's sequences; for one's own, the MD5
    in the pointer ``data/{name}.dvc`` where there is one, and the code of its function.
    """
    if name not in datasets:
        return KNOWN_MD5[name], ()
    own = datasets[name]
    pointer = _pointer(Path("data") / f"{name}.dvc") or ""
    if isinstance(own, str):
        return pointer, (own,)
    if ":" in own["source"]:
        return f"{pointer} in sequences of {own['length']}", (own["source"],)
    return _text_of(own["source"], own["tokenizer"], own["length"])[1], ()


def text_info(name: str, own: str | Mapping[str, Any]) -> DataInfo | None:
    """The facts of a data set of one's own that is a text; nothing of what a function returns.

    Raises:
        ShapPruneError: the text cannot be read, or is too short.
    """
    if isinstance(own, str) or ":" in own["source"]:
        return None
    return replace(_text_of(own["source"], own["tokenizer"], own["length"])[0], name=name)


def text_files(own: str | Mapping[str, Any] | None) -> list[str]:
    """The file of a data set of one's own that is a text in a file."""
    if own is None or isinstance(own, str) or ":" in own["source"] or own["source"] in TEXTS:
        return []
    return [own["source"]]


@cache
def _digest_of(path: str) -> str:
    return _pointer(Path(f"{path}.dvc")) or checksum(Path(path), "sha256")


def weights_of(weights: str | Mapping[str, str]) -> str:
    """The digest of the weights of a network that is not trained here."""
    return _digest_of(weights) if isinstance(weights, str) else weights["sha256"].lower()
