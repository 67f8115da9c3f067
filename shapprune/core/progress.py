"""Progress of long loops: a bar with the time left in a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

PATIENCE = 2.0  # seconds before a bar appears; shorter loops show none
INTERVAL = 30.0  # seconds between two lines of a log


def track(steps: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Iterate over ``steps`` and report progress on standard error.

    Args:
        steps: what to iterate over.
        what: what the steps are, in a word or two.
        total: how many there are, if ``steps`` has no length.
    """
    total = len(steps) if total is None and isinstance(steps, Sized) else total
    if sys.stderr.isatty():
        yield from tqdm(steps, desc=what, total=total, delay=PATIENCE, leave=False)
        return
    start = reported = time.monotonic()
    for done, step in enumerate(steps, start=1):
        yield step
        now = time.monotonic()
        if now - reported >= INTERVAL:
            reported = now
            left = f", {(now - start) / done * (total - done):.0f} s left" if total else ""
            print(f"{what}: {done}{f' of {total}' if total else ''}{left}", file=sys.stderr, flush=True)
