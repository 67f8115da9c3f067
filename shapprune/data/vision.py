"""Import torchvision, also where its compiled operators cannot be loaded.

Use ``from shapprune.data.vision import torchvision``.

A CPU-only torch beside the ordinary (CUDA) wheel of torchvision refuses the import with "operator torchvision::nms
does not exist": the wheel's compiled operators need CUDA libraries, and its Python code takes two of them for granted.
Networks and data sets use neither, so declaring the two operators, without any code behind them, is a full cure.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []  # a schema lives only as long as its library


def _import_torchvision() -> ModuleType:
    """Import torchvision as it is or, only when that fails for want of its operators, with the operators declared.

    Raises:
        ImportError, RuntimeError: whatever torchvision raises for any other reason.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    for name in [each for each in sys.modules if each.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # the half that was imported
    library = torch.library.Library("torchvision", "FRAGMENT")
    _declared.append(library)
    for schema in _SCHEMAS:
        library.define(schema)
    return importlib.import_module("torchvision")


torchvision = _import_torchvision()
