"""The command line: ``python -m shapprune``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from shapprune.commands import evaluate, layers, pointers, prune, score
from shapprune.core.errors import ShapPruneError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; a mistake is one sentence on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m shapprune", description="Shapley-value pruning of neural networks."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (layers, score, prune, evaluate, pointers):
        module.add_command(commands)
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except ShapPruneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
