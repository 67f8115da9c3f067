"""Functions of one's own, named in the configuration as ``package.module:function``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shapprune.core.errors import ShapPruneError, suggestion


def resolve_function(text: str, kind: str) -> Callable[..., Any]:
    """Import a function by its name, ``package.module:function``, also from the working folder.

    Args:
        text: the name, e.g. ``"my_package.data:load"``.
        kind: what the function is for, e.g. ``"data set"``; used in error messages.

    Raises:
        ShapPruneError: no colon in the name, no such module, no such function in it.
    """
    module_name, colon, name = text.partition(":")
    if not (module_name and colon and name):
        raise ShapPruneError(f"{kind} {text!r} must be written as package.module:function")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that it does not hide an installed package
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ShapPruneError(
            f"{kind} {text!r} cannot be imported: there is no module {error.name!r} in {here} or among the"
            " installed packages"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        functions = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        raise ShapPruneError(
            f"{kind} {text!r}: {module.__file__} has no function {name!r}{suggestion(name, functions)}"
        )
    return function
