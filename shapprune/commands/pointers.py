"""``merge-pointers``: unite two versions of the store's pointer; git calls it in a merge."""

from __future__ import annotations

import argparse
from pathlib import Path

from shapprune.commands.arguments import Subparsers, new_command


def add_command(commands: Subparsers) -> None:
    """Add the command with its arguments."""
    parser = new_command(
        commands,
        "merge-pointers",
        run,
        "unite two versions of data/store.dvc; git calls this in a merge",
        "Unite two versions of the store, and write the pointer of their union over the first one.",
        "ours.dvc theirs.dvc",
    )
    parser.add_argument("ours", type=Path)
    parser.add_argument("theirs", type=Path)


def run(arguments: argparse.Namespace) -> None:
    """Write the pointer of the union over the first."""
    from shapprune.workflow.share.dvc import merge_pointers

    merge_pointers(arguments.ours, arguments.theirs)
