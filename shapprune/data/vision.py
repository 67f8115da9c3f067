"""torchvision, also where its compiled operators cannot be loaded.

Use ``from shapprune.data.vision import torchvision``.
"""

from __future__ import annotations

import importlib

from shapprune.core.errors import ShapPruneError, first_line
from shapprune.core.operators import with_operators

try:
    torchvision = with_operators(lambda: importlib.import_module("torchvision"))
except Exception as error:  # one for another torch may fail in any way
    raise ShapPruneError(
        f"torchvision cannot be imported ({type(error).__name__}: {first_line(error)}); install the one that goes with"
        " the installed torch"
    ) from error
