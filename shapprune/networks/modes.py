"""Modes for a block or a function: those of a network, and torch's own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Put a network into training or eval mode inside the block, and restore the mode of each module afterwards."""
    before = {module: module.training for module in model.modules()}
    model.train(training)
    try:
        yield
    finally:
        for module, was in before.items():
            module.training = was


def outside_inference(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function that needs gradients work when it is called under `torch.inference_mode` too."""

    def usable(value: Any) -> Any:
        return value.clone() if isinstance(value, Tensor) and value.is_inference() else value

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        wanted = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(wanted):
            return function(*map(usable, args), **{name: usable(value) for name, value in kwargs.items()})

    return wrapped
