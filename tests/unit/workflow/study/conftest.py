"""The default study, as it is read."""

from __future__ import annotations

import pytest

from shapprune.core.paths import REPOSITORY as ROOT
from shapprune.workflow.study import config as study
from tests.unit.workflow.study.mistakes import PROTOCOLS
from tests.unit.workflow.study.study_keys import CONFIG, all_keys


@pytest.fixture
def default() -> dict:
    return study.read(ROOT / "config.yaml")


@pytest.fixture
def config(default) -> dict:
    """The default study without what names its networks and criteria."""
    default["low_data"].pop("criteria")
    return {key: value for key, value in default.items() if key not in PROTOCOLS}


@pytest.fixture(scope="module")
def before() -> dict[tuple, str]:
    return all_keys(CONFIG)
