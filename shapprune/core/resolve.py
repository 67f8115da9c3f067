"""Functions of one's own, named in the configuration as ``package.module:function``."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shapprune.core.errors import ShapPruneError, first_line, suggestion
from shapprune.core.operators import with_operators


def resolve_function(text: str, kind: str) -> Callable[..., Any]:
    """Import a function by its name, ``package.module:function``, also from the working folder.

    Args:
        text: the name, e.g. ``"my_package.data:load"``.
        kind: what the function is for, e.g. ``"data set"``; used in error messages.

    Raises:
        ShapPruneError: no colon in the name, no such module, one that fails, no such function in it.
    """
    module_name, _, name = text.partition(":")
    if module_name.endswith(".py") or not all(each.isidentifier() for each in (*module_name.split("."), name)):
        raise ShapPruneError(f"{kind} {text!r} must be written as package.module:function{_hint(module_name, name)}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that it does not hide an installed package
    try:
        module = with_operators(lambda: importlib.import_module(module_name))
    except ModuleNotFoundError as error:
        raise ShapPruneError(
            f"{kind} {text!r} cannot be imported: there is no module {error.name!r} in {here} or among the"
            " installed packages"
        ) from error
    except ShapPruneError:
        raise
    except (Exception, SystemExit) as error:  # whatever is wrong with it
        raise ShapPruneError(f"{kind} {text!r} cannot be imported: it failed in {_where(error)}") from error
    function = getattr(module, name, None)
    if function is not None and not callable(function):
        raise ShapPruneError(f"{kind} {text!r} is a {type(function).__name__}, not a function that returns it")
    if function is None:
        functions = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        raise ShapPruneError(
            f"{kind} {text!r}: {module.__file__} has no function {name!r}{suggestion(name, functions)}"
        )
    return function


def call_function(text: str, kind: str, options: Mapping[str, Any] | None = None) -> Any:
    """Call a function by its name, as `resolve_function` finds it, and return what it returns.

    Args:
        text: the name.
        kind: what the function is for; used in error messages.
        options: its arguments; None for a function that takes none.

    Raises:
        ShapPruneError: there is no such function, it does not take the options, or it fails.
    """
    function, arguments = resolve_function(text, kind), options or {}
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        given = "is called without arguments" if options is None else f"does not take the options {dict(options)}"
        raise ShapPruneError(f"{kind} {text!r} {given}: {error}") from error
    except ValueError:  # it is written in C, and has no signature
        pass
    try:
        return with_operators(lambda: function(**arguments))
    except ShapPruneError:
        raise
    except Exception as error:  # whatever is wrong with it
        raise ShapPruneError(f"{kind} {text!r} failed in {_where(error)}") from error


def _where(error: BaseException) -> str:
    """File and line of an error, its kind and what it says."""
    *_, last = traceback.extract_tb(error.__traceback__)
    file, line = (error.filename, error.lineno) if isinstance(error, SyntaxError) else (last.filename, last.lineno)
    said = error.msg if isinstance(error, SyntaxError) else first_line(error)
    return f"{file}, line {line}, with {type(error).__name__}: {said}"


def _hint(module_name: str, name: str) -> str:
    """The name in Python's words, where a file was meant."""
    meant = ".".join(part for part in module_name.removesuffix(".py").split("/") if part not in ("", "."))
    is_name = name.isidentifier() and all(part.isidentifier() for part in meant.split("."))
    return f"; did you mean {f'{meant}:{name}'!r}?" if is_name else ""
