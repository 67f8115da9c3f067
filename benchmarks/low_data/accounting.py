"""What a method is given, what it must return, and what is measured of it; all that is here is in the key of a row.

A method is a function of a network, images and a budget, a share of the network's multiply-accumulates. It returns a
smaller network, or an object that has one as ``model``, such as `shapprune.Pruned`; an ``agreement`` of that (estimate,
lower and upper end) is kept as its promise. What budgets share can be done once: a method may also be a class that is
made of a network and images, and called with a budget. A parameter ``labels`` says that it looks at labels; a parameter
``seed`` gets the number of the draw.
"""

from __future__ import annotations

import copy
import inspect
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shapprune.core.errors import first_line
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.networks.latency import measure_latency
from shapprune.networks.losses import hits, logits_of, mean_loss
from shapprune.networks.randomness import seeded
from shapprune.pruning.divergence import agree, run


class RefusedError(Exception):
    """What a method returned is not what it was asked for; one sentence says why."""


class FailedError(Exception):
    """A method raised an error; one sentence says which."""


@dataclass(frozen=True)
class Calibration:
    """What methods are given.

    Attributes:
        model: the network, in eval mode.
        images: training images, [N, C, H, W].
        labels: theirs, int64 [N].
        draw: the number of the draw.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    draw: int

    def copies(self) -> tuple[nn.Module, Tensor]:
        """The network and images, for a method that may change them."""
        return copy.deepcopy(self.model), self.images.clone()


class Unseen:
    """All test images, and what the intact network says of them.

    Args:
        model: the intact network.
        images: test images, [N, C, H, W].
        labels: theirs.
    """

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor):
        self._images, self._labels = images, labels
        self._whole = run(model, images)
        self.accuracy = float(hits(self._whole, labels).double().mean())

    def measure(self, small: nn.Module) -> tuple[dict[str, Any], np.ndarray]:
        """How good a network is, and which images it has right, bool [N].

        Raises:
            RefusedError: its outputs are not finite.
        """
        outputs = run(small, self._images)
        if not torch.isfinite(outputs).all():
            raise RefusedError("its network puts out numbers that are not finite")
        right = hits(outputs, self._labels)
        found = {
            "agreement_test": float(agree(self._whole, outputs).double().mean()),
            "loss": float(mean_loss(outputs.double(), self._labels)),
            "accuracy": float(right.double().mean()),
            "accuracy_intact": self.accuracy,
        }
        return found, right.bool().cpu().numpy()


@dataclass
class Spent:
    """Seconds of the clock, and of all processors together."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    _since: tuple[float, float] = field(default=(0.0, 0.0), repr=False)

    def __enter__(self) -> Spent:
        self._since = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._since[0]
        self.cpu_seconds += time.process_time() - self._since[1]


class Started:
    """A method with the network and images of a draw.

    Args:
        method: the function or class.
        options: further arguments of it.
        given: the network and images.

    Raises:
        FailedError: making the class raised an error.
    """

    def __init__(self, method: Callable[..., Any], options: Mapping[str, Any], given: Calibration):
        takes = inspect.signature(method).parameters
        offered = {"labels": given.labels, "seed": given.draw}
        self._method, self._given, self._spent = method, given, Spent()
        self._options = {**options, **{name: value for name, value in offered.items() if name in takes}}
        self.labels = "yes" if "labels" in takes else "no"
        self._made: Callable[[float], Any] | None = None
        if isinstance(method, type):
            self._own = given.copies()
            with self._spent:
                self._made = self._call(lambda: self._method(*self._own, **self._options))

    def shrink(self, budget: float) -> tuple[Any, Spent]:
        """What the method returns for a budget, and what it took, with what budgets share.

        Raises:
            FailedError: the method raised an error.
            RefusedError: it changed the network that its other budgets start from.
        """
        spent = Spent(self._spent.seconds, self._spent.cpu_seconds)
        made = self._made
        if made is None:
            copies = self._given.copies()
            with spent:
                return self._call(lambda: self._method(*copies, budget, **self._options)), spent
        with spent:
            returned = self._call(lambda: made(budget))
        if not _same(self._own[0], self._given.model):
            raise RefusedError("it changed the network that it was given, from which its other budgets start")
        return returned, spent

    def _call(self, function: Callable[[], Any]) -> Any:
        device = self._given.images.device
        try:
            with seeded(self._given.draw, device):
                return function()
        except Exception as error:  # whatever is wrong with it, other methods are measured
            traceback.print_exc()
            raise FailedError(f"it raised {type(error).__name__}: {first_line(error)}") from error


def measure(started: Started, budget: float, given: Calibration, test: Unseen) -> tuple[dict[str, Any], np.ndarray]:
    """Run a method for one budget, and measure what it returns.

    Returns:
        The row without what it is of, and which test images the network has right, bool [N].

    Raises:
        FailedError: the method raised an error.
        RefusedError: it returned no network, one over budget, or one that puts out something else.
    """
    returned, spent = started.shrink(budget)
    small = returned if isinstance(returned, nn.Module) else getattr(returned, "model", returned)
    if not isinstance(small, nn.Module):
        raise RefusedError(f"it returned a {type(small).__name__}, not a network")
    small = small.to(given.images.device).eval()
    macs, whole = _check(small, budget, given)
    latency = measure_latency(small, given.images[:1])
    promise = getattr(returned, "agreement", None) or ("", "", "")
    found, right = test.measure(small)
    about = {
        "macs": macs,
        "share": macs / whole,
        "parameters": count_parameters(small),
        "milliseconds": round(latency.median_ms, 4),
        "labels": started.labels,
        "cpu_seconds": round(spent.cpu_seconds, 2),
        "seconds": round(spent.seconds, 2),
        "device": latency.device,
        "threads": latency.threads,
    }
    return about | dict(zip(("agreement", "agreement_low", "agreement_high"), promise, strict=True)) | found, right


@torch.no_grad()
def _check(small: nn.Module, budget: float, given: Calibration) -> tuple[int, int]:
    """Multiply-accumulates of a network and of the intact one.

    Raises:
        RefusedError: see `measure`.
    """
    example = given.images[:2]
    try:
        outputs = logits_of(small(example))
    except Exception as error:
        raise RefusedError(
            f"its network fails on the images with {type(error).__name__}: {first_line(error)}"
        ) from error
    expected = logits_of(given.model(example))
    if not isinstance(outputs, Tensor) or outputs.shape != expected.shape:
        found = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise RefusedError(f"its network puts out {found} for two images, not {list(expected.shape)}")
    if not torch.isfinite(outputs).all():
        raise RefusedError("its network puts out numbers that are not finite")
    macs, whole = count_macs(small, example), count_macs(given.model, example)
    if macs == 0:
        raise RefusedError("its network has no convolution or linear layer, so its multiply-accumulates are not known")
    if macs >= whole:
        raise RefusedError(f"its network is not smaller: {macs:,} multiply-accumulates, and the intact one {whole:,}")
    if macs > budget * whole:
        raise RefusedError(f"over budget: {macs:,} multiply-accumulates, and {int(budget * whole):,} are allowed")
    return macs, whole


def _same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same parameters and buffers."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())
