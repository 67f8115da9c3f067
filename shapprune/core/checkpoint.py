"""Checkpoints of a training or a scoring, from which the same work continues after an interruption."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shapprune.core.files import whole


def save_checkpoint(path: Path | None, identity: str, state: dict[str, Any]) -> None:
    """Write the state of a training or a scoring, completely or not at all.

    Args:
        path: the file; None writes nothing.
        identity: all that decides the outcome, as text. Only work with the same identity continues from the file.
        state: tensors, numbers, text, and lists and dictionaries of them.
    """
    if path is not None:
        with whole(path) as temporary:
            torch.save({"identity": identity, "state": state}, temporary)


def load_checkpoint(path: Path | None, identity: str) -> dict[str, Any] | None:
    """Read the state that `save_checkpoint` wrote with the same identity; None if there is none or it is damaged."""
    if path is None or not path.exists():
        return None
    try:
        # Generator states must stay on the CPU; other tensors are copied to the device by who loads them.
        saved = torch.load(path, map_location="cpu", weights_only=True)
        return saved["state"] if saved["identity"] == identity else None
    except Exception:  # noqa: BLE001  a damaged file may make the unpickler raise anything
        return None


def digest(parts: Iterable[object]) -> str:
    """The SHA-256 of numbers, texts and arrays, for an identity."""
    sha256 = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor | np.ndarray):
            array = torch.as_tensor(part).detach().cpu().contiguous()
            sha256.update(f"{array.dtype} {tuple(array.shape)}\0".encode())
            sha256.update(array.reshape(-1).view(torch.uint8).numpy().data)
        else:
            sha256.update(f"{part!r}\0".encode())
    return sha256.hexdigest()
