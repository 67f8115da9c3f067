"""Files of the repository are found, and missed in a sentence."""

from __future__ import annotations

import pytest

from shapprune.core import paths
from shapprune.core.errors import ShapPruneError


def test_repository_file_is_found():
    assert paths.repository_file("scripts/train_network.py").is_file()


def test_package_without_its_repository_is_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path)
    with pytest.raises(ShapPruneError, match=f"{tmp_path}/scripts/train_network.py is missing: .*editable"):
        paths.repository_file("scripts/train_network.py")
