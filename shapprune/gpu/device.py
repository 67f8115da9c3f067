"""The device that networks run on, and the facts about the machine for manifests.

No result depends on this module, so cache keys do not follow it (`shapprune.workflow.store.keys`). The functions import
torch, the module does not.
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
    """Choose ``"cuda"`` or ``"cpu"``.

    Args:
        wanted: ``cpu``, ``cuda``, or ``auto`` for CUDA if there is a device.

    Raises:
        ShapPruneError: an unknown device, or ``cuda`` without a CUDA device.

    Examples:
        >>> from shapprune.gpu import choose_device
        >>> choose_device("cpu")
        'cpu'
    """
    import torch

    if wanted not in DEVICES:
        raise unknown("device", wanted, DEVICES)
    if wanted == "cuda" and not torch.cuda.is_available():
        why = " because CUDA_VISIBLE_DEVICES is empty" if os.environ.get("CUDA_VISIBLE_DEVICES") == "" else ""
        raise ShapPruneError(f"device 'cuda' was asked for but torch finds none{why}; set device: auto or cpu")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def machine_facts(device: str) -> dict[str, Any]:
    """The device, the peak memory in MB so far, and the versions that decide numerical results."""
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
