"""Code that imports torchvision, also where its compiled operators cannot be loaded.

With a CPU-only torch and the ordinary (CUDA) wheel of torchvision the import fails with "operator torchvision::nms does
not exist": the wheel's compiled operators need CUDA libraries, and its Python code expects two of them. Networks and
data sets use neither, so declaring the two operators without an implementation is enough.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

Result = TypeVar("Result")

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[Any] = []  # a schema lives only as long as its library


def with_operators(run: Callable[[], Result]) -> Result:
    """Run what imports torchvision somewhere; if its operators are missing, declare them and run it again.

    Raises:
        Exception: what ``run`` raises for another reason.

    Examples:
        >>> import importlib
        >>> from shapprune.core.operators import with_operators
        >>> with_operators(lambda: importlib.import_module("torchvision")).__name__
        'torchvision'
    """
    try:
        return run()
    except Exception as error:  # whatever packages that import it make of its RuntimeError
        if _declared or not any("operator torchvision::" in str(each) for each in _causes(error)):
            raise
    _declare()
    return run()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from; packages that import late, as transformers does, word their own."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _declare() -> None:
    import torch

    for name in [each for each in sys.modules if each.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # imported in part
    library = torch.library.Library("torchvision", "FRAGMENT")
    _declared.append(library)
    for schema in _SCHEMAS:
        library.define(schema)
