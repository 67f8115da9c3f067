"""Torch's global random state: start from a seed, keep in a checkpoint, and give back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def seeded(seed: int, device: str | torch.device = "cpu") -> Iterator[None]:
    """Start torch's global generators from a seed inside the block, and restore them afterwards.

    Around `shapprune.networks.builders.build` it makes the initial weights a function of the seed.

    Args:
        seed: the seed.
        device: a CUDA device whose generator is seeded too.

    Examples:
        >>> import torch
        >>> from shapprune.networks.randomness import seeded
        >>> with seeded(3):
        ...     one = torch.rand(2)
        >>> with seeded(3):
        ...     bool((torch.rand(2) == one).all())
        True
    """
    device = torch.device(device)
    devices = []
    if device.type == "cuda":
        devices = [torch.cuda.current_device() if device.index is None else device.index]
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for index in devices:
            with torch.cuda.device(index):
                torch.cuda.manual_seed(seed)
        yield


def global_state(device: torch.device) -> list[Tensor]:
    """The state of torch's global generators, on the CPU and on the device."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_global_state(state: list[Tensor], device: torch.device) -> None:
    """Set torch's global generators to a state of `global_state`."""
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)


@contextmanager
def reproducible_sums() -> Iterator[None]:
    """Restrict CUDA to algorithms that give the same sums each time inside the block; no effect on a CPU.

    These are some of cuDNN's for convolutions, and for attention in float32 another than the one that saves memory,
    whose gradients are added up in any order.
    """
    cudnn, attention = torch.backends.cudnn, torch.backends.cuda
    before = cudnn.deterministic, cudnn.benchmark, attention.mem_efficient_sdp_enabled()
    cudnn.deterministic, cudnn.benchmark = True, False
    attention.enable_mem_efficient_sdp(False)
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before[:2]
        attention.enable_mem_efficient_sdp(before[2])
