"""A scoring of parameters under way: batch after batch, from a checkpoint on if there is one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from shapprune.core.checkpoint import digest, load_checkpoint, save_checkpoint
from shapprune.core.progress import track
from shapprune.parameters.accumulation import SIGNS, Sums
from shapprune.parameters.choice import Chosen
from shapprune.parameters.curvature import Curvature
from shapprune.parameters.expansion import Expansion
from shapprune.parameters.loss import Losses
from shapprune.parameters.pooling import Pooling

INTERVAL = 30.0  # seconds between two writes of a checkpoint


class Scoring:
    """A scoring that is under way.

    Args:
        chosen: the parameters.
        pooling: of them, or None.
        expansion: how they are scored.
        curvature: of the loss.

    Attributes:
        sums: over the batches so far.
        seconds: that the part before a checkpoint took.
    """

    def __init__(self, chosen: Chosen, pooling: Pooling | None, expansion: Expansion, curvature: Curvature):
        self._chosen, self._pooling, self._expansion, self._curvature = chosen, pooling, expansion, curvature
        self.sums, self.seconds = Sums(expansion.absolute, expansion.alpha, expansion.unbiased), 0.0

    def run(self, losses: Losses, checkpoint: Path | None) -> None:
        """Go through all batches, or those that a checkpoint lacks."""
        done, began = 0, time.perf_counter()
        identity = "" if checkpoint is None else self._identity(losses)
        if (state := load_checkpoint(checkpoint, identity)) is not None:
            done, self.seconds = state["batches"], state["seconds"]
            self.sums.restore(state["sums"], losses.device)
            self._curvature.reached |= set(state["reached"])
        written = began
        batches = losses.batches(self._expansion.batch)
        for inputs, answers in track(batches[done:], "batches"):
            first, second = self._terms(inputs, losses.answers_of(inputs, answers))
            self.sums.add(first, second, len(inputs))
            del first, second  # the next batch needs the room
            done += 1
            if checkpoint is not None and time.perf_counter() - written >= INTERVAL:
                seconds, reached = self.seconds + time.perf_counter() - began, sorted(self._curvature.reached)
                state = {"batches": done, "seconds": seconds, "sums": self.sums.state(), "reached": reached}
                save_checkpoint(checkpoint, identity, state)
                written = time.perf_counter()

    def _terms(self, inputs: Tensor, answers: Tensor) -> Iterator[dict[str, Tensor]]:
        """The terms of first and second order of a batch, of each parameter or pooled to units."""
        factors = -1.0, SIGNS[self._expansion.sign]
        for found, factor in zip(self._curvature.of(inputs, answers), factors, strict=True):
            terms = {}
            for name, weight in self._chosen.weights.items() if found else ():
                terms[name] = found.pop(0) * weight.detach() * factor  # what is used is let go of
            yield terms if self._pooling is None or not terms else {"units": self._pooling(terms)}

    def _identity(self, losses: Losses) -> str:
        """All that decides the outcome, as text."""
        parts = [] if self._pooling is None else self._pooling.parts
        places = [each for part in parts for each in (part.name, part.axis, part.places)]
        how = None if self._pooling is None else self._pooling.how
        weights = [each for pair in self._chosen.weights.items() for each in pair]
        return digest([self._expansion, how, *places, *weights, *losses.identity()])
