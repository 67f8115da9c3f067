"""One configuration laid over another: a study over the default one, and what it reduces over the study."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from typing import Any

from shapprune.core.errors import ShapPruneError
from shapprune.workflow.stages.registry import OPTIONAL
from shapprune.workflow.study.schema import FREE_MAPS


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a study over another; both are left unchanged.

    Mappings are merged; other values are replaced. Mappings whose keys are the user's own names (`FREE_MAPS`) are
    replaced too: a study has its own networks, datasets and criteria. The sections in `OPTIONAL` belong to certain
    networks and criteria, so a study that replaces these does not inherit them; nor the choice of criteria of
    ``low_data``, if it has criteria of its own.

    With ``scale: reduced`` the section ``reduced`` is laid over all of it, all mappings key by key, and the name of the
    study says so. What is empty there (null) is left out of the study, for instance a network.

    Raises:
        ShapPruneError: the study is to be reduced, and does not say how.
    """
    if {"networks", "criteria"} & overlay.keys():
        base = {key: value for key, value in base.items() if key not in OPTIONAL}
    if "criteria" in overlay and isinstance(base.get("low_data"), Mapping):
        base = {**base, "low_data": {key: value for key, value in base["low_data"].items() if key != "criteria"}}
    merged = _merge(base, overlay, FREE_MAPS)
    reduced = merged.pop("reduced", {})
    if merged.get("scale") != "reduced":
        return merged
    if not isinstance(reduced, Mapping) or not reduced:
        raise ShapPruneError(f"scale: reduced needs a section `reduced`, and study {merged.get('study')} has none")
    return _without_empty(_merge(merged, reduced)) | {"study": f"{merged.get('study')}-reduced"}


def _merge(
    base: Mapping[str, Any], overlay: Mapping[str, Any], replaced: Collection[str] = (), key: str = ""
) -> dict[str, Any]:
    """The overlay laid over the base: mappings are merged, but for those with a dotted key in `replaced`."""
    merged = deepcopy(dict(base))
    for name, value in overlay.items():
        inner = f"{key}.{name}".lstrip(".")
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping) and inner not in replaced
        merged[name] = _merge(merged[name], value, replaced, inner) if both else deepcopy(value)
    return merged


def _without_empty(value: Any) -> Any:
    """A copy of the value whose mappings have no key without a value."""
    if not isinstance(value, Mapping):
        return value
    return {name: _without_empty(item) for name, item in value.items() if item is not None}
