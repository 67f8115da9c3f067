"""Functions of one's own by name."""

from __future__ import annotations

import sys

import pytest

from shapprune.core.errors import ShapPruneError
from shapprune.core.resolve import call_function, resolve_function


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


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("./models.py:build", "; did you mean 'models:build'?"),
        ("models.py:build", "; did you mean 'models:build'?"),
        ("./my/models:build", "; did you mean 'my.models:build'?"),
        ("my models:build", ""),
        ("models:build()", ""),
        (".models:build", ""),
    ],
)
def test_paths_of_files_are_refused_with_what_was_meant(text, meant):
    with pytest.raises(ShapPruneError) as caught:
        resolve_function(text, "architecture")
    assert str(caught.value) == f"architecture {text!r} must be written as package.module:function{meant}"


def test_what_is_no_function_is_told(working_folder):
    (working_folder / "resolve_other.py").write_text("data = [1]\n")
    with pytest.raises(ShapPruneError, match="data set 'resolve_other:data' is a list, not a function that returns it"):
        resolve_function("resolve_other:data", "data set")


def test_calls(working_folder):
    (working_folder / "resolve_calls.py").write_text(
        "def add(a, b=1):\n    return a + b\n\ndef fails():\n    raise ValueError('x\\ny')\n"
    )
    assert call_function("resolve_calls:add", "--data", {"a": 3}) == 4
    assert call_function("builtins:dict", "--data", {"a": 3}) == {"a": 3}
    for text, options, message in (
        ("add", None, "--data 'resolve_calls:add' is called without arguments: missing a required argument: 'a'"),
        ("add", {"c": 1}, "--data 'resolve_calls:add' does not take the options {'c': 1}: missing a .*"),
        ("fails", None, "--data 'resolve_calls:fails' failed in .*resolve_calls.py, line 5, with ValueError: x$"),
    ):
        with pytest.raises(ShapPruneError, match=message):
            call_function(f"resolve_calls:{text}", "--data", options)


def test_a_missing_module_is_named():
    with pytest.raises(ShapPruneError, match="there is no module 'resolve_nowhere'"):
        resolve_function("resolve_nowhere.data:load", "data set")


def test_a_missing_function_is_named_with_its_neighbours(working_folder):
    (working_folder / "resolve_typo.py").write_text("def load():\n    return 7\n")
    with pytest.raises(ShapPruneError, match=r"has no function 'laod'; did you mean 'load'"):
        resolve_function("resolve_typo:laod", "data set")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("\n1 / 0\n", "line 2, with ZeroDivisionError: division by zero"),
        ("x = 1\ndef load(:\n", "line 2, with SyntaxError: invalid syntax"),
        ("from os import nothing\n", "line 1, with ImportError: cannot import name 'nothing'"),
        ("import sys\nsys.exit('usage: train.py')\n", "line 2, with SystemExit: usage"),
    ],
)
def test_a_module_that_fails_is_named_with_the_line(code, message, working_folder):
    name = f"resolve_broken_{abs(hash(code))}"
    (working_folder / f"{name}.py").write_text(code)
    with pytest.raises(ShapPruneError, match=rf"cannot be imported: it failed in \S*{name}\.py, {message}"):
        resolve_function(f"{name}:load", "data set")
