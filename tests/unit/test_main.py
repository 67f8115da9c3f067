"""``python -m shapprune``."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shapprune.__main__ import main


@pytest.mark.parametrize("command", ["layers", "score", "prune", "evaluate", "merge-pointers"])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"example:\n  python -m shapprune {command} " in capsys.readouterr().out


def test_help_needs_no_torch():
    code = "import sys, shapprune.__main__; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'PIL')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
