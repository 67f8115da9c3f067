"""What planning a large study, and starting a job, cost.

    python -m benchmarks.scheduling --units 5000 --out results/benchmarks/scheduling.csv

A dry-run of a study of at least so many tasks (networks, scores, curves, pruned networks, evaluations), none of
which is there yet: seconds and peak memory. And the small study below, all of whose results come from the store: its
seconds a job on one core, which is what a job costs beside its work. Nothing of either is left behind.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

from shapprune.core.program import run_program
from shapprune.core.tables import write_table
from shapprune.workflow.study import config as study
from shapprune.workflow.study.overlay import merge
from shapprune.workflow.study.plan import Plan

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("what", "units", "jobs", "seconds", "seconds_a_job", "peak_mb")
_PROTOCOLS: dict[str, Any] = {"estimators": {}, "fine_tune": {}, "untrained": {}, "compress": {}, "budgets": {}}
SMALL: dict[str, Any] = {
    "study": "small",
    "tracking": "off",
    "networks": {
        "small": {
            "architecture": "mlp",
            "options": {"widths": [12, 8]},
            "data": "digits",
            "seeds": [0, 1],
            "train": {"epochs": 1, "lr": 0.1},
        }
    },
    "splits": {"validation": 100},
    "scoring": {"images": 20, "trials": 2},
    "criteria": {"random": {}, "taylor": {}, "permutation": {"permutations": 1}},
    "curves": {"images": 50},
    "oracle": {"max_units": 1, "images": 20},
    "low_data": {"ratios": [0.5], "images": 20, "test_images": 50, "trials": 1, "repair": ["none"]},
    **_PROTOCOLS,
}


def main() -> None:
    """Run the benchmark and write its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=5000, help="of the study that is planned, at least")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/scheduling.csv"))
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        rows.append(planned(Path(folder), large(given.units)))
    with tempfile.TemporaryDirectory() as folder:
        rows.append(restored(Path(folder)))
    write_table(given.out, COLUMNS, rows)
    for row in rows:
        print(json.dumps(row))


def large(units: int) -> dict[str, Any]:
    """A study of ResNet-56 and VGG-16 by three criteria, with as many seeds as make so many tasks."""
    networks = {
        name: {"architecture": name, "data": "cifar10", "train": {"epochs": 1}} for name in ("resnet56", "vgg16")
    }
    criteria: dict[str, dict[str, Any]] = {"random": {}, "taylor": {}, "permutation": {}}
    for seeds in count(1):
        overlay = {"networks": {name: {**each, "seeds": [*range(seeds)]} for name, each in networks.items()}}
        config = {**overlay, "criteria": criteria, **_PROTOCOLS}
        if units_of(config) >= units:
            return config
    raise AssertionError


def units_of(overlay: dict[str, Any]) -> int:
    """How many tasks a study has that is laid over the default one."""
    plan = Plan(study.validate(merge(study.read(ROOT / "config.yaml"), overlay)))
    return sum(len(job.tasks) for job in plan.jobs())


def planned(folder: Path, overlay: dict[str, Any]) -> dict[str, Any]:
    """A dry-run in an empty folder."""
    seconds, peak, said = _snakemake(folder, overlay, "--cores", "8", "--dry-run", "--quiet", "rules")
    jobs = next(int(line.split()[1]) for line in said.splitlines() if line.startswith("total"))
    return _row("dry-run", units_of(overlay), jobs, seconds, peak)


def restored(folder: Path) -> dict[str, Any]:
    """A run whose results are all in the store."""
    targets = ("--cores", "1", "--quiet", "all", "--", "train_all", "score_all", "curves_all", "prune_all")
    _snakemake(folder, SMALL, *targets)
    overlay = {**SMALL, "store": str(folder / "data" / "store")}
    again = folder / "again"
    again.mkdir()
    *_, said = _snakemake(again, overlay, "--dry-run", *targets[:2], "--quiet", "rules", *targets[4:])
    jobs = next(int(line.split()[1]) for line in said.splitlines() if line.startswith("total"))
    seconds, peak, _ = _snakemake(again, overlay, *targets)
    return _row("restored", units_of(SMALL), jobs, seconds, peak)


def _row(what: str, units: int, jobs: int, seconds: float, peak: float) -> dict[str, Any]:
    each = round(seconds / jobs, 3)
    return {"what": what, "units": units, "jobs": jobs, "seconds": round(seconds, 1), "seconds_a_job": each} | {
        "peak_mb": round(peak)
    }


def _snakemake(folder: Path, overlay: dict[str, Any], *arguments: str) -> tuple[float, float, str]:
    """Run Snakemake on a study; seconds, its own peak memory in MB, and what it said."""
    (folder / "study.yaml").write_text(json.dumps(overlay))
    where = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--configfile", "study.yaml"]
    code = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]);"
        "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
    )
    started = time.perf_counter()
    done = subprocess.run(  # noqa: S603  the command is ours
        [sys.executable, "-c", code, sys.executable, "-m", "snakemake", *where, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{done.stdout}\n{done.stderr}")
    said = done.stdout + done.stderr
    peak = next(int(line.split()[1]) for line in said.splitlines() if line.startswith("peak"))
    return seconds, peak / 1024, said


if __name__ == "__main__":
    sys.exit(run_program(main))
