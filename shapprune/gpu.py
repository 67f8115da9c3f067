"""Which device the networks run on."""

from __future__ import annotations

from shapprune.errors import ShapPruneError, unknown

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
        raise ShapPruneError("device 'cuda' was asked for but torch finds none; set device: auto or cpu")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"
