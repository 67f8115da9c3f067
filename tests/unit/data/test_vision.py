"""torchvision as it is, with its operators declared only where they are missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shapprune.core.paths import REPOSITORY

CHECK = """
from shapprune.data import vision
print(len(vision._declared), {expression})
"""
# What torchvision does at import: it looks up its operators, and the lookup fails where they were not loaded.
NEEDS_OPERATORS = """
import torchvision.half
import torch
torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::nms", "Meta")
torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::qnms", "Meta")
"""


def run(expression: str, *path: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*path, REPOSITORY]))}
    code = CHECK.format(expression=expression)
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def fake(tmp_path):
    """Makes a torchvision of one file that hides the installed one."""

    def make(code: str) -> Path:
        package = tmp_path / "torchvision"
        package.mkdir()
        (package / "__init__.py").write_text(code)
        (package / "half.py").write_text("import sys\nsys.halves = getattr(sys, 'halves', 0) + 1\n")
        return tmp_path

    return make


def test_the_installed_torchvision_imports_and_has_its_networks():
    result = run("len(vision.torchvision.models.vgg.make_layers([64, 'M'], True))")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[1] == "4"


def test_nothing_is_declared_where_the_plain_import_works(fake):
    result = run("vision.torchvision.value", fake("value = 5"))
    assert result.stdout.split() == ["0", "5"], result.stderr


def test_missing_operators_are_declared_and_the_half_import_is_cleared(fake):
    result = run("__import__('sys').halves", fake(NEEDS_OPERATORS))
    assert result.stdout.split() == ["1", "2"], result.stderr


def test_any_other_failure_is_passed_on(fake):
    result = run("0", fake("raise RuntimeError('the disk is on fire')"))
    assert result.returncode != 0
    assert "RuntimeError: the disk is on fire" in result.stderr
