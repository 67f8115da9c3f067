"""What a program that people start does about mistakes, and about a reader that has seen enough."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from shapprune.core.errors import ShapPruneError


def run_program(body: Callable[[], int | None]) -> int:
    """Run a program: a `ShapPruneError` becomes one sentence on standard error, without a traceback.

    If standard output is closed while it prints, as ``head`` does, it ends without a word.

    Args:
        body: what it does; it may return an exit code.

    Returns:
        The exit code: 0 or that of the body, 1 after a mistake or if nobody reads on.

    Examples:
        >>> from shapprune.core.program import run_program
        >>> run_program(lambda: None)
        0
    """
    try:
        code = body() or 0
        sys.stdout.flush()
    except ShapPruneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes what is left when it ends
        return 1
    return code
