"""What ``prune`` has done before it was cut off, from which the same command goes on."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from shapprune.commands.arguments import MODEL
from shapprune.commands.opening import Opened
from shapprune.core.checkpoint import load_checkpoint, save_checkpoint
from shapprune.core.version import __version__
from shapprune.pruning.damage import Damage

NAME = "prune.unfinished"


class Unfinished:
    """What is there of a command that makes networks for one or more budgets.

    Args:
        folder: where the command writes.
        arguments: of the command.
        opened: the network and its images.

    Attributes:
        damage: what the outputs lose when one layer loses units; None if it is not known.
    """

    def __init__(self, folder: Path, arguments: argparse.Namespace, opened: Opened):
        self._folder, self._file = folder, folder / NAME
        asked = sorted((name, str(value)) for name, value in vars(arguments).items())
        images = [float(each.double().sum()) for each in opened.images]
        self._identity = f"{__version__} {torch.__version__} {opened.checkpoint.sha256} {asked} {images}"
        saved = load_checkpoint(self._file, self._identity) or {}
        self.damage: dict[str, Damage] | None = None
        if "damage" in saved:
            self.damage = {layer: Damage(**each) for layer, each in saved["damage"].items()}
        self._done: dict[str, Any] = json.loads(saved.get("done", "{}"))

    def facts_of(self, name: str) -> dict[str, Any] | None:
        """What is known of a network that was written into a folder; None if it was not."""
        facts: dict[str, Any] | None = self._done.get(name)
        return facts if (self._folder / name / MODEL).exists() else None

    def keep_damage(self, damage: Mapping[str, Damage]) -> None:
        """Keep what the outputs lose."""
        self.damage = dict(damage)
        self._save()

    def add(self, name: str, facts: Mapping[str, Any]) -> None:
        """Keep what is known of a network that was written into a folder."""
        self._done[name] = facts
        self._save()

    def end(self) -> None:
        """Forget all: the command is done, or would fail again."""
        self._file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # there are other files in it
            self._folder.rmdir()

    def _save(self) -> None:
        state: dict[str, Any] = {"done": json.dumps(self._done)}
        if self.damage is not None:
            state["damage"] = {layer: asdict(each) for layer, each in self.damage.items()}
        save_checkpoint(self._file, self._identity, state)
