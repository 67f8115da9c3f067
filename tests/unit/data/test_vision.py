"""torchvision as the project imports it."""

from __future__ import annotations

import importlib

import pytest

from shapprune.core.errors import ShapPruneError
from shapprune.data import vision


def test_the_installed_torchvision_imports_and_has_its_networks():
    assert len(vision.torchvision.models.vgg.make_layers([64, "M"], True)) == 4


def test_one_that_cannot_be_imported_is_told(monkeypatch):
    def fails(_):
        raise OSError("undefined symbol: _ZN3c10\nand more")

    monkeypatch.setattr(vision, "with_operators", fails)  # restored afterwards, because reload binds it again
    monkeypatch.setattr("shapprune.core.operators.with_operators", fails)
    with pytest.raises(ShapPruneError, match=r"torchvision cannot be imported \(OSError: undefined symbol: _ZN3c10\)"):
        importlib.reload(vision)
