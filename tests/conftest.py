"""What all tests share: one thread, one seed, and the folder with the full data sets."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

# Read by torch when it is first imported, which is later than this; so tests that need no torch do not pay for it.
os.environ["OMP_NUM_THREADS"] = "1"

WORKFLOW = Path(__file__).parent / "workflow"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Seeds what a test draws without a seed of its own, so that it does not hang on the tests before it."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with the full data sets and the public weights; tests that need it carry the mark ``data``."""
    folder = os.environ.get("SHAPPRUNE_DATA")
    if not folder:
        pytest.skip("SHAPPRUNE_DATA does not name a folder with the full data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Fills a folder once for all workers: the first that wants it makes it, the others wait until it is there."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # each worker has a folder of its own in that of the run

    def filled(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = root / name, root / f"{name}.done"
        with FileLock(root / f"{name}.lock"):
            if not done.exists():
                assert not folder.exists(), f"{name} could not be made for an earlier test"
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return filled


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Examples in docstrings come first: that of a lease needs a process in which CUDA has not started.

    Tests that run the workflow come next: they take longest, and the other worker does the rest meanwhile.
    """
    items.sort(key=lambda item: (not isinstance(item, pytest.DoctestItem), item.path.parent != WORKFLOW))
