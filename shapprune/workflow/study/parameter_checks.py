"""Checks of the sections ``deactivation`` and ``quantisation`` of a configuration.

Each check yields the keys and sentences of the mistakes it finds; see `shapprune.workflow.study.checks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shapprune.core.errors import unknown
from shapprune.workflow.stages.layers import known_layers, removable
from shapprune.workflow.stages.quantisation import BITS, METHODS
from shapprune.workflow.study.image_checks import check_images
from shapprune.workflow.study.schema import Problem


def check_deactivation(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Check that every share is of some unit, and how many test images there are."""
    section = config["deactivation"]
    if not section["criteria"]:
        return
    for share in section["shares"]:
        for net, table in known_layers(config).items():
            units = [table[layer] for layer in removable(table)]
            if units and all(int(each * share) == 0 for each in units):
                most = max(units)
                yield "deactivation.shares", f"{share:g} is no unit of any layer of {net}, which have {most} at most"
    yield from check_images("deactivation", config, calibrates=False)


def check_quantisation(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Check methods and bits, and how many images there are."""
    section = config["quantisation"]
    for name, settings in section["methods"].items():
        if (method := settings.get("method", name)) not in METHODS:
            yield f"quantisation.methods.{name}.method", str(unknown("method of quantisation", method, METHODS))
        elif settings["in_turn"] and method == "round":
            yield f"quantisation.methods.{name}.in_turn", "true has no meaning for 'round', which is not calibrated"
    for bits in section["bits"]:
        if bits not in BITS:
            yield "quantisation.bits", f"weights of {bits} bits are not possible; allowed: {', '.join(map(str, BITS))}"
    if section["methods"]:
        yield from check_images("quantisation", config)
