"""What imports torchvision runs, with its operators declared only where they are missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shapprune.core.paths import REPOSITORY

CHECK = """
import importlib
from shapprune.core import operators
try:
    print({expression}, len(operators._declared))
except Exception as error:
    print(repr(error))
"""
# What torchvision does at import: it looks up its operators, and the lookup fails where they were not loaded.
NEEDS_OPERATORS = """
import torchvision.half
import torch
torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::nms", "Meta")
torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::qnms", "Meta")
"""
PLAIN = 'operators.with_operators(lambda: importlib.import_module("torchvision")).{0}'
OWN = "__import__('shapprune.core.resolve').core.resolve.call_function('tvown:{0}', 'architecture')"


def run(expression: str, *path: Path) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*path, REPOSITORY]))}
    code = CHECK.format(expression=expression)
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture
def fake(tmp_path):
    """Makes a torchvision of one file that hides the installed one, and modules of one's own that import it."""

    def make(code: str) -> Path:
        package = tmp_path / "torchvision"
        package.mkdir()
        (package / "__init__.py").write_text(code)
        (package / "half.py").write_text("import sys\nsys.halves = getattr(sys, 'halves', 0) + 1\n")
        (tmp_path / "tvpackage.py").write_text(
            "try:\n    import torchvision\nexcept RuntimeError as error:\n"
            "    raise ImportError(f'tvpackage needs torchvision: {error}')\n"
        )
        (tmp_path / "tvown.py").write_text(
            "def late():\n    import torchvision\n    return 'late'\n"
            "def through():\n    import tvpackage\n    return 'through'\n"
            "def reworded():\n    try:\n        import tvpackage\n    except ImportError as error:\n"
            "        raise ModuleNotFoundError('tvpackage could not be imported') from error\n    return 'reworded'\n"
        )
        (tmp_path / "tvearly.py").write_text("import torchvision\ndef early():\n    return 'early'\n")
        return tmp_path

    return make


def test_nothing_is_declared_where_the_plain_import_works(fake):
    assert run(PLAIN.format("value"), fake("value = 5")) == "5 0"


def test_missing_operators_are_declared_and_the_half_import_is_cleared(fake):
    assert run(PLAIN.format("half.sys.halves"), fake(NEEDS_OPERATORS)) == "2 1"


@pytest.mark.parametrize("how", ["early", "late", "through", "reworded"])
def test_modules_of_ones_own_may_import_it_anywhere(how, fake):
    expression = OWN.format(how).replace("tvown", "tvearly" if how == "early" else "tvown")
    assert run(expression, fake(NEEDS_OPERATORS)) == f"{how} 1"


def test_any_other_failure_is_passed_on(fake):
    folder = fake("raise RuntimeError('the disk is on fire')")
    assert run(PLAIN.format("value"), folder) == "RuntimeError('the disk is on fire')"
    said = run(OWN.format("late"), folder)
    assert said.startswith("ShapPruneError(")
    assert "with RuntimeError: the disk is on fire" in said
