"""Checkpoints of a training or a scoring, so that one that was cut off goes on instead of starting anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from shapprune.core.files import whole


def save_checkpoint(path: Path | None, of: str, state: dict[str, Any]) -> None:
    """Write the state of a training or a scoring, whole or not at all; without a path nothing is written.

    Args:
        path: the file.
        of: what decides the outcome, as text; only what is the same in it goes on from the file.
        state: tensors, numbers, text, and lists and dictionaries of them.
    """
    if path is not None:
        with whole(path) as temporary:
            torch.save({"of": of, "state": state}, temporary)


def load_checkpoint(path: Path | None, of: str) -> dict[str, Any] | None:
    """The state that `save_checkpoint` wrote with the same ``of``; None if there is none, or it cannot be read."""
    if path is None or not path.exists():
        return None
    try:
        # Generator states must stay on the CPU; what belongs on the device is copied there when it is loaded.
        saved = torch.load(path, map_location="cpu", weights_only=True)
        return saved["state"] if saved["of"] == of else None
    except Exception:  # noqa: BLE001  damaged, it may make the unpickler raise anything
        return None
