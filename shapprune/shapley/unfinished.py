"""What a scoring has done so far, in a file from which the same scoring goes on when it was cut off."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from shapprune.core.checkpoint import load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from shapprune.game.protocol import Game

INTERVAL = 10.0  # seconds of work between two writes; a shorter scoring leaves no file


class Unfinished:
    """A scoring on its way: it takes up what the same scoring has left in a file, and writes there now and then.

    The same scoring is one of the same criterion, options, layer, site, payoff, images, labels, weights and kind of
    device. A payoff of one's own is told by its name, what a network computes by its modules and weights.

    Args:
        path: the file; None where nothing is kept. It is left there for the caller to delete.
        game: what is scored.
        criterion: the criterion's name.
        options: what else decides the outcome: numbers, text, arrays, and lists and dictionaries of the former two.

    Attributes:
        game: what is scored.
        saved: the state to go on from; empty where the scoring starts anew.
        evaluations: what that state has cost.
        seconds: the time it has taken.
    """

    def __init__(self, path: Path | None, game: Game, criterion: str, *options: object):
        self.game = game
        self._path, self._criterion, self._options = path, criterion, options
        self.saved: dict[str, Any] = {}
        self.evaluations = self.seconds = 0.0
        # What the scoring is of takes a while to tell, so only where there is a file to compare it with.
        found = load_checkpoint(path, self._of()) if path is not None and path.exists() else None
        if found is not None:
            self.saved, self.evaluations, self.seconds = found["saved"], found["evaluations"], found["seconds"]
            print(f"{criterion} of {game.layer}: goes on from {found['place']}", file=sys.stderr, flush=True)
        self._in_file = found is not None
        self._unwritten: tuple[str, dict[str, Any]] | None = None
        self._valued_before = game.evaluations
        self._started = self._written = time.perf_counter()

    def save(self, place: str, **state: Any) -> None:
        """Take note of a state, and write it when it is time.

        Args:
            place: how far the scoring is, for people.
            state: tensors, numbers, and lists of them.
        """
        if self._path is None:
            return
        self._unwritten = place, state
        if time.perf_counter() - self._written >= INTERVAL:
            self._write(*self._unwritten)

    def finish(self) -> None:
        """Write the last state, if the scoring was long enough for a file, so that to score again takes no time."""
        if self._in_file and self._unwritten is not None:
            self._write(*self._unwritten)

    def _write(self, place: str, state: dict[str, Any]) -> None:
        evaluations = self.evaluations + self.game.evaluations - self._valued_before
        seconds = self.seconds + time.perf_counter() - self._started
        content = {"place": place, "saved": state, "evaluations": evaluations, "seconds": seconds}
        save_checkpoint(self._path, self._of(), content)
        self._in_file, self._unwritten, self._written = True, None, time.perf_counter()

    def _of(self) -> str:
        """What decides the outcome, as text."""
        parts = chain(self._options, self.game.identity())
        return f"{self._criterion} of {self.game.layer}, {_digest(parts)}"


def _digest(parts: Iterable[object]) -> str:
    """The SHA-256 of numbers, texts and arrays."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor | np.ndarray):
            array = torch.as_tensor(part).detach().cpu().contiguous()
            found.update(f"{array.dtype} {tuple(array.shape)}\0".encode())
            found.update(array.reshape(-1).view(torch.uint8).numpy().data)
        else:
            found.update(f"{part!r}\0".encode())
    return found.hexdigest()
