"""Which device the networks run on, and what a result was made on.

Stages ask here where they run. Nothing here decides what they make, so no key of a result is of this module
(`shapprune.workflow.store.keys`). Importing it costs nothing: torch is imported by the functions that need it.
"""

from __future__ import annotations

import os
import platform
import resource
from typing import Any

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.core.version import __version__
from shapprune.gpu.leases import lease

__all__ = ["DEVICES", "choose_device", "lease", "machine_facts"]

DEVICES = ("auto", "cpu", "cuda")


def choose_device(wanted: str = "auto") -> str:
    """``"cuda"`` or ``"cpu"``, as wanted and there.

    Args:
        wanted: ``auto`` takes CUDA where there is a device and the CPU else.

    Raises:
        ShapPruneError: an unknown device, or ``cuda`` where there is none.
    """
    import torch

    if wanted not in DEVICES:
        raise unknown("device", wanted, DEVICES)
    if wanted == "cuda" and not torch.cuda.is_available():
        why = " because CUDA_VISIBLE_DEVICES is empty" if os.environ.get("CUDA_VISIBLE_DEVICES") == "" else ""
        raise ShapPruneError(f"device 'cuda' was asked for but torch finds none{why}; set device: auto or cpu")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def machine_facts(device: str) -> dict[str, Any]:
    """What a result was made on: device, peak memory in MB so far, and the versions that decide its numbers."""
    import torch

    if device == "cuda":
        name, peak = torch.cuda.get_device_name(), torch.cuda.max_memory_allocated() / 2**20
    else:
        name, peak = "cpu", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "shapprune": __version__,
    }
    return {"device": name, "peak_memory_mb": round(peak, 1), "versions": versions}
