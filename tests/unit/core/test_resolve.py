"""Functions of one's own by name."""

from __future__ import annotations

import sys

import pytest

from shapprune.core.errors import ShapPruneError
from shapprune.core.resolve import resolve_function


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    return tmp_path


def test_a_module_of_the_working_folder_is_found(working_folder):
    (working_folder / "resolve_here.py").write_text("def load():\n    return 7\n")
    assert resolve_function("resolve_here:load", "data set")() == 7


@pytest.mark.parametrize("text", ["resolve_here.load", "resolve_here:", ":load"])
def test_a_name_without_both_parts_is_refused(text):
    with pytest.raises(ShapPruneError, match=r"must be written as package\.module:function"):
        resolve_function(text, "data set")


def test_a_missing_module_is_named():
    with pytest.raises(ShapPruneError, match="there is no module 'resolve_nowhere'"):
        resolve_function("resolve_nowhere.data:load", "data set")


def test_a_missing_function_is_named_with_its_neighbours(working_folder):
    (working_folder / "resolve_typo.py").write_text("def load():\n    return 7\n")
    with pytest.raises(ShapPruneError, match=r"has no function 'laod'; did you mean 'load'"):
        resolve_function("resolve_typo:laod", "data set")


def test_an_error_inside_the_module_is_not_hidden(working_folder):
    (working_folder / "resolve_broken.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        resolve_function("resolve_broken:load", "data set")
