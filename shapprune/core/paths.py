"""The folders of the package and of the repository around it."""

from __future__ import annotations

from pathlib import Path

from shapprune.core.errors import ShapPruneError

PACKAGE = Path(__file__).resolve().parents[1]
REPOSITORY = PACKAGE.parent  # in a checkout; an installed package has other things around it


def repository_file(path: str) -> Path:
    """A file of the repository that the workflow needs.

    Args:
        path: relative to the repository, e.g. ``"scripts/train_network.py"``.

    Raises:
        ShapPruneError: it is missing, as it is where the package was installed without its repository.
    """
    if not (REPOSITORY / path).is_file():
        raise ShapPruneError(
            f"{REPOSITORY / path} is missing: the workflow runs the package that lies in its repository, installed with"
            " pip install --editable ."
        )
    return REPOSITORY / path
