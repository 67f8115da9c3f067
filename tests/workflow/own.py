"""A study of a network and a data set of one's own, in which things can go wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.study import Workflow, same_files

# Networks of one layer, in some of which a fault is planted, and data that can be made to take long.
CODE = """
import os, signal, time
from pathlib import Path
import numpy as np
from torch import nn

def load():
    while Path("slow").exists():
        time.sleep(0.1)
    random = np.random.default_rng(0)
    labels = np.arange(300) % 3
    images = (random.random((300, 6, 6)) * 60 + 60 * labels[:, None, None]).astype(np.uint8)
    return images[:200], labels[:200], images[200:], labels[200:]

def broken():
    return load()[:3]

def build(width=4, fault=""):
    fault = fault if Path("faults").exists() else ""
    if fault == "exception":
        raise ValueError("a planted fault")
    if fault == "memory":
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does where memory has run out
    if fault == "time":
        os.kill(os.getpid(), signal.SIGTERM)  # as a scheduler does when the time is up
    return nn.Sequential(nn.Flatten(), nn.Linear(36, width), nn.ReLU(), nn.Linear(width, 3))
"""


def network(**options: object) -> dict[str, Any]:
    """The configuration of a network with options for its builder."""
    return {
        "architecture": "my_code:build",
        "options": options,
        "data": "shades",
        "layers": {"1": 4},
        "train": {"epochs": 2, "lr": 0.1},
    }


OWN = {
    "study": "own",
    "tracking": False,
    "datasets": {"shades": "my_code:load"},
    "networks": {"good": network()},
    "splits": {"validation": 60},
    "scoring": {"images": 20},
    "oracle": {"images": 20},
    "curves": {"images": 50},
    "low_data": {"images": 20},
    "criteria": {"weight-norm": {}},
}


def own(folder: Path, store_of: Workflow | None = None, **changes: object) -> Workflow:
    """The study in a folder, with the store of a finished one or with none; other values take the place of its own."""
    (folder / "my_code.py").write_text(CODE)
    if store_of:
        shutil.copytree(store_of.folder / "data", folder / "data")
    return Workflow(folder, OWN | changes)


def same_results(one: Workflow, other: Workflow) -> bool:
    """Whether scores and curves are there and equal."""
    folders = [each.folder / "results" for each in (one, other)]
    return same_files(*folders, "*/seed*/scores/**/trial*.npz") == same_files(*folders, "*/seed*/curves/*.csv") == 1
