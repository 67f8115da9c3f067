"""A study of one's own: own images, an own network, three criteria, and the workflow that compares them.

python examples/own_study.py FOLDER     # a minute; results, logs and the store are written into FOLDER
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

if TYPE_CHECKING:
    from torch import nn

HERE = Path(__file__).resolve().parent

STUDY = {
    "study": "own",
    "store": "store",  # below FOLDER; left out, it is data/store
    "tracking": "off",  # no mirror in MLflow
    "datasets": {"stripes": "own_study:load"},
    "networks": {
        "own": {
            "architecture": "own_study:build",
            "options": {"width": 12},
            "data": "stripes",
            "layers": {"hidden": 12},  # what `python -m shapprune layers` prints
            "train": {"epochs": 5, "lr": 0.1, "momentum": 0.9},
        }
    },
    "splits": {"validation": 200},
    "scoring": {"images": 50, "trials": 2},
    "criteria": {
        "random": {},
        "taylor": {},
        "shapley": {"method": "permutation", "permutations": 5, "aggregates": ["mean", "mean+2std"]},
    },
    "curves": {"images": 200},
    "low_data": {"criteria": ["taylor", "shapley"], "ratios": [0.5], "trials": 1},
}


def load() -> tuple[np.ndarray, ...]:
    """Images of stripes under noise, and their directions: train images and labels, test images and labels."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 800)
    stripes = np.tile([0, 20], (8, 4))
    images = np.where(labels[:, None, None], stripes, stripes.T) + random.integers(0, 236, (800, 8, 8))
    images = images.astype(np.uint8)
    return images[:500], labels[:500], images[500:], labels[500:]


def build(width: int) -> nn.Module:
    """The network; the configuration gives its options."""
    from torch import nn  # here, because planning a study needs no torch

    layers = {"flatten": nn.Flatten(), "hidden": nn.Linear(64, width), "relu": nn.ReLU(), "out": nn.Linear(width, 2)}
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    return model


def main(folder: Path, *arguments: str) -> int:
    """Write the study into the folder and run the workflow there, to its tables; Snakemake's exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "own.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    where = ["--snakefile", str(HERE.parent / "Snakefile"), "--directory", str(folder), "--configfile", "own.yaml"]
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *where, *arguments, "--", "collect_tables"]
    # The jobs import this file by its name.
    found = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    return subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": found}, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]).resolve(), *sys.argv[2:]))
