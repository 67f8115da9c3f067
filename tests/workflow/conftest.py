"""A study small enough to run in a test, and a way to run it as a user does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]

STUDY = {
    "study": "tiny",
    "tracking": False,  # as YAML reads a bare `off`; importing MLflow costs seconds
    "networks": {
        "small": {
            "architecture": "mlp",
            "options": {"widths": [9, 6]},
            "data": "digits",
            "seeds": [0, 3],
            "train": {"epochs": 4, "lr": 0.1, "momentum": 0.9},
        }
    },
    "splits": {"validation": 200},
    "scoring": {"images": 20, "trials": 2},
    "criteria": {
        "random": {},
        "taylor": {},
        "shapley": {"method": "permutation", "permutations": 2, "aggregates": ["mean", "mean+2std"]},
    },
    "curves": {"images": 100},
    "oracle": {"max_units": 6, "images": 50},
    "estimators": {
        "repetitions": 2,
        "converged": 10,
        "max_units": 9,
        "compared": {"permutation": {"over": {"permutations": [1, 3]}}, "taylor": {}},
    },
    "low_data": {"ratios": [0.5], "images": 20, "test_images": 300, "trials": 2, "repair": ["none", "least-squares"]},
    "fine_tune": {
        "criteria": ["taylor"],
        "images": [0, 100, "all"],
        "trials": 1,
        "train": {"epochs": 3, "batch": 50, "lr": 0.1, "patience": 1},
    },
    "untrained": {
        "criteria": ["shapley"],
        "images": 100,
        "networks": {
            "fresh": {"architecture": "mlp", "options": {"widths": [8, 6]}, "data": "digits", "seeds": [0, 1]},
        },
    },
    "compress": {
        "criteria": ["taylor", "shapley"],
        "sizes": {"half": {"ratio": 0.5}, "small": {"parameters": 300}},
        "train": {"epochs": 3, "lr": 0.1},
    },
}


class Workflow:
    """A folder in which the workflow runs."""

    def __init__(self, folder: Path, study: dict) -> None:
        self.folder, self.study = folder, study

    def command(self, *arguments: str) -> list[str]:
        """The command that runs snakemake on the study as it is now."""
        (self.folder / "study.yaml").write_text(yaml.safe_dump(self.study))
        study = ["--configfile", str(self.folder / "study.yaml")]
        where = ["--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(self.folder)]
        return [sys.executable, "-m", "snakemake", *where, *study, *arguments]

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


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Workflow:
    """The tiny study, run once; tests read it and leave its results as they are."""
    workflow = Workflow(tmp_path_factory.mktemp("study"), STUDY)
    workflow.run()
    return workflow
