"""The default study, as it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from shapprune.workflow.study import config as study
from tests.unit.workflow.study.mistakes import PROTOCOLS

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def default() -> dict:
    return study.read(ROOT / "config.yaml")


@pytest.fixture
def config(default) -> dict:
    """The default study without the protocols that name its networks and criteria."""
    return {key: value for key, value in default.items() if key not in PROTOCOLS}
