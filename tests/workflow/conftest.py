"""Studies that are run once for all tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.study import Workflow
from tests.workflow.own import OWN, own


@pytest.fixture(scope="session")
def finished(once: Callable[[str, Callable[[Path], object]], Path]) -> Workflow:
    """The small study, finished; tests read it and start nothing there but dry-runs."""
    return Workflow(once("study", lambda folder: Workflow(folder).run()))


@pytest.fixture(scope="session")
def undisturbed(once: Callable[[str, Callable[[Path], object]], Path]) -> Workflow:
    """Scores and curves of the study of one's own code, without any fault; tests read it and start nothing there."""
    folder = once("undisturbed", lambda folder: own(folder).run("score_all", "curves_all"))
    return Workflow(folder, OWN)
