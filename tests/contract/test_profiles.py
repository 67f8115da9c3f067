"""The profiles: every entry is explained, and what they promise is so."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from shapprune.core.paths import REPOSITORY as ROOT
from shapprune.workflow.study import config as study
from shapprune.workflow.study.overlay import merge

PROFILES = sorted(path.parent for path in ROOT.glob("profiles/*/profile.yaml"))


def entries(profile: Path) -> dict:
    return yaml.safe_load((profile / "profile.yaml").read_text())


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_every_entry_has_a_comment_and_the_profile_a_line_in_the_readme(profile):
    lines = (profile / "profile.yaml").read_text().splitlines()
    found = 0
    for before, line in zip(["", *lines], lines, strict=False):
        if line and not line.startswith(("#", " ")):
            assert before.startswith("#"), line
            found += 1
    assert found == len(entries(profile))
    assert f"| `{profile.name}` |" in (ROOT / "profiles" / "README.md").read_text()


@pytest.mark.parametrize("profile", [path for path in PROFILES if path.name != "default"], ids=lambda path: path.name)
def test_nothing_is_said_in_vain(profile):
    """Of two values of an option that of `default` counts."""
    assert not entries(profile).keys() & entries(ROOT / "profiles" / "default").keys()


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.name)
def test_snakemake_takes_it(profile, tmp_path):
    if profile.name == "slurm" and importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("the plugin for Slurm is not installed")
    where = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    command = [sys.executable, "-m", "snakemake", *where, "--profile", str(profile), "--cores", "1", "--dry-run"]
    done = subprocess.run([*command, "--", "data_all"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_small_study_has_every_experiment():
    small = merge(study.read(ROOT / "config.yaml"), study.read(ROOT / "profiles" / "ci" / "study.yaml"))
    checked = study.validate(small)
    assert checked["estimators"]["compared"]
    assert checked["low_data"]["criteria"]
    assert all(checked[section]["criteria"] for section in ("fine_tune", "untrained", "compress", "deactivation"))
    assert all(checked[section]["methods"] for section in ("budgets", "quantisation"))
    assert checked["budgets"]["onnx"]
    assert checked["tracking"] == "off"
    assert {network["data"] for network in checked["networks"].values()} == {"digits"}  # which needs no download
