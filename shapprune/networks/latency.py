"""The time that a network takes for a batch of images."""

from __future__ import annotations

import platform
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.networks.modes import mode

_WARM_UP = 5  # passes that are not timed: the first ones allocate memory and choose algorithms


@dataclass(frozen=True)
class Latency:
    """The time that a network took, and the hardware.

    Attributes:
        device: name of the processor or the CUDA device.
        batch: images in a pass.
        threads: CPU threads of torch.
        repeats: timed passes.
        median_ms: median milliseconds of a pass.
        quartiles_ms: first and third quartile.
    """

    device: str
    batch: int
    threads: int
    repeats: int
    median_ms: float
    quartiles_ms: tuple[float, float]


def measure_latency(
    model: nn.Module, example: Tensor, *, batch: int = 1, threads: int | None = None, repeats: int = 30
) -> Latency:
    """Time passes of a network in eval mode, without gradients, on the device that it is on.

    Copying the images to the device is not timed. The modes of the network and torch's number of threads are restored.

    Args:
        model: the network.
        example: images, [N, ...], that it can run on; they are repeated if the batch is larger.
        batch: images in a pass.
        threads: CPU threads; by default those that torch has now.
        repeats: timed passes, after 5 that are not timed.

    Raises:
        ShapPruneError: no images, or a number below 1.

    Examples:
        >>> import torch, shapprune
        >>> latency = shapprune.measure_latency(torch.nn.Linear(3, 2), torch.rand(4, 3), batch=8, repeats=5)
        >>> latency.batch, latency.quartiles_ms[0] <= latency.median_ms <= latency.quartiles_ms[1]
        (8, True)
    """
    (found,) = measure_latencies([model], example, batch=batch, threads=threads, repeats=repeats)
    return found


def measure_latencies(
    models: Sequence[nn.Module], example: Tensor, *, batch: int = 1, threads: int | None = None, repeats: int = 30
) -> list[Latency]:
    """Time passes of several networks in turns, so that whatever else the machine does slows all of them alike.

    Args:
        models: networks, on one device.
        example: as for `measure_latency`, like the following.
        batch: as there.
        threads: as there.
        repeats: timed passes of each.

    Raises:
        ShapPruneError: as there.

    Examples:
        >>> import torch
        >>> from shapprune.networks.latency import measure_latencies
        >>> small, large = measure_latencies([torch.nn.Linear(3, 2), torch.nn.Linear(3, 20000)], torch.rand(1, 3))
        >>> small.median_ms < large.median_ms
        True
    """
    threads = torch.get_num_threads() if threads is None else threads
    for name, value in (("batch", batch), ("threads", threads), ("repeats", repeats), ("images", len(example))):
        if value < 1:
            raise ShapPruneError(f"a latency is measured with 1 or more {name}, not {value}")
    device = next((each.device for model in models for each in model.parameters()), example.device)
    images, name = example[torch.arange(batch) % len(example)].to(device), _name(device)
    with _threads(threads), ExitStack() as modes, torch.inference_mode():
        for model in models:
            modes.enter_context(mode(model, training=False))
        rounds = [[_timed(model, images, device) for model in models] for _ in range(_WARM_UP + repeats)][_WARM_UP:]
    found = []
    for times in map(list, zip(*rounds, strict=True)):
        first, median, third = statistics.quantiles(times, n=4, method="inclusive") if repeats > 1 else times * 3
        found.append(Latency(name, batch, threads, repeats, median, (first, third)))
    return found


def _timed(model: nn.Module, images: Tensor, device: torch.device) -> float:
    """Milliseconds of a pass."""
    _wait_for(device)
    start = time.perf_counter()
    model(images)
    _wait_for(device)
    return (time.perf_counter() - start) * 1000


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Give torch a number of threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:  # on Linux platform.processor() knows no more than the family
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or device.type
