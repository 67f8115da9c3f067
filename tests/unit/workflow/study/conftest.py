"""The default study, as it is read."""

from __future__ import annotations

import pytest

from shapprune.core.paths import REPOSITORY as ROOT
from shapprune.workflow.study import config as study
from tests.unit.workflow.study.mistakes import PROTOCOLS


@pytest.fixture
def default() -> dict:
    return study.read(ROOT / "config.yaml")


@pytest.fixture
def config(default) -> dict:
    """The default study without the protocols that name its networks and criteria."""
    return {key: value for key, value in default.items() if key not in PROTOCOLS}
