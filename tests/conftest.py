"""What all tests share: one thread, and the folder with the full data sets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Read by torch when it is first imported, which is later than this; so tests that need no torch do not pay for it.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with the full data sets and the public weights; tests that need it carry the mark ``data``."""
    folder = os.environ.get("SHAPPRUNE_DATA")
    if not folder:
        pytest.skip("SHAPPRUNE_DATA does not name a folder with the full data sets")
    return Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Examples in docstrings come first: that of a lease needs a process in which CUDA has not started.

    Tests that run the workflow come next: they share what takes minutes, so one worker has many of them.
    """
    items.sort(key=lambda item: (not isinstance(item, pytest.DoctestItem), "workflow" not in item.path.parts))
