"""The command line: ``python -m shapprune``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from shapprune.commands import evaluate, layers, pointers, prune, score
from shapprune.core.program import run_program


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; a mistake is one sentence on standard error.

    Args:
        arguments: of the command line, by default those of this process.

    Returns:
        The exit code: 0, or 1 after a mistake.
    """
    parser = argparse.ArgumentParser(
        prog="python -m shapprune", description="Shapley-value pruning of neural networks."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (layers, score, prune, evaluate, pointers):
        module.add_command(commands)
    parsed = parser.parse_args(arguments)
    return run_program(lambda: parsed.run(parsed))


if __name__ == "__main__":
    sys.exit(main())
