"""The numerical precision of networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = ("tf32", "fp32", "bf16")


@contextmanager
def at_precision(name: str, device: torch.device) -> Iterator[None]:
    """Compute with a precision inside the block, and restore torch's settings afterwards.

    Args:
        name: ``fp32``; ``tf32``, products of 10 bits and float32 sums on CUDA devices that support it (else ``fp32``);
            or ``bf16``, autocast to bfloat16.
        device: where the network is.
    """
    if device.type == "cpu":
        with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
            yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = name != "fp32"
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16"):
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
