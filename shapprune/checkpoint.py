"""Checkpoints of a training, so that one that was cut off goes on after its last whole epoch."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from shapprune.files import whole


def save_checkpoint(path: Path | None, of: str, state: dict[str, Any]) -> None:
    """Write the state of a training, whole or not at all; without a path nothing is written.

    Args:
        path: the file.
        of: what decides the training's outcome, as text; only the same training goes on from it.
        state: tensors, numbers, text, and lists and dictionaries of them.
    """
    if path is not None:
        with whole(path) as temporary:
            torch.save({"of": of, "state": state}, temporary)


def load_checkpoint(path: Path | None, of: str) -> dict[str, Any] | None:
    """The state that `save_checkpoint` wrote for the same training; None if there is none, or it cannot be read."""
    if path is None or not path.exists():
        return None
    try:
        # Generator states must stay on the CPU; what belongs on the device is copied there when it is loaded.
        saved = torch.load(path, map_location="cpu", weights_only=True)
        return saved["state"] if saved["of"] == of else None
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError):
        return None
