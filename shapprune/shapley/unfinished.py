"""The state of a scoring in a checkpoint, from which the same scoring continues after an interruption."""

from __future__ import annotations

import sys
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapprune.core.checkpoint import digest, load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from shapprune.game.protocol import Game

INTERVAL = 10.0  # seconds between two writes; a shorter scoring writes no file


class Unfinished:
    """A scoring that is under way: it continues from the state that the same scoring has left, and saves its own.

    Two scorings are the same if they agree in criterion, options, layer, site, payoff, images, labels, weights and kind
    of device. A payoff of one's own is identified by its name, a network by its modules and weights.

    Args:
        path: the file; None for no checkpoint. It is left for the caller to delete.
        game: what is scored.
        criterion: the criterion's name.
        options: what else decides the outcome: numbers, text, arrays, and lists and dictionaries of numbers and text.

    Attributes:
        game: what is scored.
        saved: the state to continue from; empty if there is none.
        evaluations: what that state has cost.
        seconds: the time it has taken.
    """

    def __init__(self, path: Path | None, game: Game, criterion: str, *options: object):
        self.game = game
        self._path, self._criterion, self._options = path, criterion, options
        self.saved: dict[str, Any] = {}
        self.evaluations = self.seconds = 0.0
        # The identity takes a while to compute, so it is only compared if there is a file.
        found = load_checkpoint(path, self._identity()) if path is not None and path.exists() else None
        if found is not None:
            self.saved, self.evaluations, self.seconds = found["saved"], found["evaluations"], found["seconds"]
            print(f"{criterion} of {game.layer}: continues from {found['place']}", file=sys.stderr, flush=True)
        self._in_file = found is not None
        self._unwritten: tuple[str, dict[str, Any]] | None = None
        self._evaluations_before = game.evaluations
        self._started = self._written = time.perf_counter()

    def save(self, place: str, **state: Any) -> None:
        """Remember a state, and write it if the last write was `INTERVAL` ago.

        Args:
            place: how far the scoring has come, in words.
            state: tensors, numbers, and lists of them.
        """
        if self._path is None:
            return
        self._unwritten = place, state
        if time.perf_counter() - self._written >= INTERVAL:
            self._write(*self._unwritten)

    def finish(self) -> None:
        """Write the last state if there is a file, so that the same scoring later only reads it."""
        if self._in_file and self._unwritten is not None:
            self._write(*self._unwritten)

    def _write(self, place: str, state: dict[str, Any]) -> None:
        evaluations = self.evaluations + self.game.evaluations - self._evaluations_before
        seconds = self.seconds + time.perf_counter() - self._started
        content = {"place": place, "saved": state, "evaluations": evaluations, "seconds": seconds}
        save_checkpoint(self._path, self._identity(), content)
        self._in_file, self._unwritten, self._written = True, None, time.perf_counter()

    def _identity(self) -> str:
        """All that decides the outcome, as text."""
        parts = chain(self._options, self.game.identity())
        return f"{self._criterion} of {self.game.layer}, {digest(parts)}"
