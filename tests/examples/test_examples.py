"""Every example runs as it is started by a reader, and prints what it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(folder: Path, name: str, *arguments: str) -> str:
    """What an example prints."""
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent)}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    return done.stdout


def test_every_example_is_listed_and_run():
    listed = re.findall(r"^\| `(\w+\.py)` \|", (EXAMPLES / "README.md").read_text(), flags=re.M)
    assert listed
    assert set(listed) == {path.name for path in EXAMPLES.glob("*.py")}
    assert all(f'"{name}"' in Path(__file__).read_text() for name in listed)


def test_own_network_is_pruned(tmp_path):
    printed = run(tmp_path, "prune_own_network.py")
    parameters = [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) parameters", printed)]
    assert len(parameters) == 3
    assert parameters[1] < 0.3 * parameters[0]
    assert (tmp_path / "small.safetensors").is_file()


def test_budgets_are_fitted_and_promises_kept(tmp_path):
    printed = run(tmp_path, "fit_budget.py")
    shares = re.findall(r"agree on [\d.]+% \(([\d.]+)% to ([\d.]+)%\), agrees on ([\d.]+)%", printed)
    assert len(shares) == 3
    assert all(float(low) - 3 <= float(found) <= float(high) + 3 for low, high, found in shares)
    assert float(shares[0][2]) > 95


def test_a_method_of_ones_own_makes_the_network_smaller(tmp_path):
    printed = run(tmp_path, "low_data_method.py")
    found = re.findall(r"(whole|half): ([\d,]+) multiply-accumulates, ([\d.]+)% right", printed)
    assert [name for name, *_ in found] == ["whole", "half"]
    whole, half = (int(macs.replace(",", "")) for _, macs, _ in found)
    assert 0.4 * whole < half <= 0.5 * whole
    assert float(found[1][2]) > 70  # a random choice without the repair is near 30


def test_criteria_are_compared(tmp_path):
    printed = run(tmp_path, "compare_criteria.py")
    areas = {line.split()[0]: float(line.split()[1]) for line in printed.splitlines()[1:]}
    assert len(areas) == 6
    assert areas["coalition-gradient"] < areas["random"]


@pytest.mark.slow
def test_own_study_runs_and_its_results_are_read(tmp_path):
    run(tmp_path, "own_study.py", "own")
    printed = run(tmp_path, "read_results.py", "own")
    assert re.search(r"own +random +mean +\d\.\d+", printed)
    assert "hidden" in printed
