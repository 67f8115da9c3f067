"""A study small enough to run in a test, and a way to run it as a user does."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from shapprune.core.paths import REPOSITORY

STUDY: dict[str, Any] = yaml.safe_load((REPOSITORY / "profiles" / "ci" / "study.yaml").read_text())


def changed(study: Mapping[str, Any], **sections: Mapping[str, Any]) -> dict[str, Any]:
    """A study with values laid over its sections."""
    study = copy.deepcopy(dict(study))
    for section, values in sections.items():
        study[section] |= values
    return study


class Workflow:
    """A folder in which the workflow runs.

    Args:
        folder: where; there may be results already.
        study: what is laid over the default study.
    """

    def __init__(self, folder: Path, study: Mapping[str, Any] = STUDY) -> None:
        self.folder, self.study = folder, dict(study)

    def copy(self, folder: Path) -> Workflow:
        """The same in another folder, with all that is there."""
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return Workflow(folder, self.study)

    def with_store(self, folder: Path, **sections: Mapping[str, Any]) -> Workflow:
        """The study in another folder with the store of this one only; values are laid over its sections."""
        shutil.copytree(self.folder / "data" / "store", folder / "data" / "store")
        return Workflow(folder, changed(self.study, **sections))

    def command(self, *arguments: str) -> list[str]:
        """The command that runs snakemake on the study as it is now."""
        config = self.folder / f"study{os.getpid()}.yaml"  # two workers may look at one folder
        config.write_text(yaml.safe_dump(self.study))
        where = ["--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(self.folder)]
        return [sys.executable, "-m", "snakemake", *where, "--configfile", str(config), *arguments]

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run it; standard output and standard error are in ``stdout``."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )

    def run(self, *targets: str) -> str:
        """Run the study on two cores, which must end well; what it said."""
        done = self("--cores", "2", "--resources", "gpu=8", "--", *targets)
        assert done.returncode == 0, done.stdout[-5000:]
        return done.stdout

    def planned(self, *targets: str) -> dict[str, int]:
        """How many jobs of each rule a run would start."""
        done = self("--cores", "2", "--dry-run", "--quiet", "rules", "--", *targets)
        assert done.returncode == 0, done.stdout[-5000:]
        words = [line.split() for line in done.stdout.splitlines()]
        return {line[0]: int(line[1]) for line in words if len(line) == 2 and line[1].isdigit() and line[0] != "total"}


def same_files(one: Path, other: Path, pattern: str) -> int:
    """How many files of a pattern there are below two folders, all of which must be equal."""
    files = sorted(path.relative_to(one) for path in one.glob(pattern))
    assert files == sorted(path.relative_to(other) for path in other.glob(pattern))
    for file in files:
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
    return len(files)
