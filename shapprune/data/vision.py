"""Import torchvision, also where its compiled operators cannot be loaded.

Use ``from shapprune.data.vision import torchvision``.

With a CPU-only torch and the ordinary (CUDA) wheel of torchvision the import fails with "operator torchvision::nms does
not exist": the wheel's compiled operators need CUDA libraries, and its Python code expects two of them. Networks and
data sets use neither, so declaring the two operators without an implementation is enough.
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
    """Import torchvision; if its operators are missing, declare them and import it again.

    Raises:
        ImportError, RuntimeError: torchvision cannot be imported for another reason.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    for name in [each for each in sys.modules if each.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # imported in part
    library = torch.library.Library("torchvision", "FRAGMENT")
    _declared.append(library)
    for schema in _SCHEMAS:
        library.define(schema)
    return importlib.import_module("torchvision")


torchvision = _import_torchvision()
