"""``merge-pointers``: what git calls to unite two versions of the store's pointer."""

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
        "Write the pointer of the union of two versions of the store over the first of them.",
        "ours.dvc theirs.dvc",
    )
    parser.add_argument("ours", type=Path)
    parser.add_argument("theirs", type=Path)


def run(given: argparse.Namespace) -> None:
    """Unite the two."""
    from shapprune.workflow.share.dvc import merge_pointers

    merge_pointers(given.ours, given.theirs)
