"""Scores on disk: arrays as .npz, and a manifest beside them as .json."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shapprune.core.errors import ShapPruneError
from shapprune.core.files import read_json, whole, write_json
from shapprune.shapley.scores import UnitScores


def write_scores(
    path: str | Path,
    scores: UnitScores,
    images: np.ndarray,
    facts: Mapping[str, Any],
    aggregates: Iterable[str] = ("mean",),
) -> None:
    """Write scores as ``path`` (.npz) with a manifest of the same stem (.json).

    Args:
        path: the .npz file. It holds ``values`` [N, n]; ``images`` [N], the places of the images in their part of the
            data set (empty if the criterion sees no images); and ``draws`` [G, 1, n], means over the images, if
            anything is drawn.
        scores: the scores.
        images: the places of the scoring images.
        facts: further entries of the manifest: network, layer, options, device ...
        aggregates: those whose standard errors the manifest holds.
    """
    path = Path(path)
    values = scores.values.cpu().numpy()
    arrays = {"values": values, "images": images if len(images) == len(values) else images[:0]}
    if scores.draws is not None:
        arrays["draws"] = scores.draws.mean(1, keepdim=True).cpu().numpy()
    with whole(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)
    manifest = {
        **facts,
        "method": scores.criterion,
        "units": values.shape[1],
        "images": len(arrays["images"]),
        "evaluations": scores.evaluations,
        "settled": scores.settled,
        "seconds": round(scores.seconds, 6),
        "standard_error": {how: _numbers(scores.standard_error(how)) for how in sorted(aggregates)},
    }
    write_json(path.with_suffix(".json"), manifest)


def _numbers(values: torch.Tensor) -> list[float | None]:
    """Numbers as JSON can hold them, null for nan."""
    return [None if np.isnan(each) else each for each in values.tolist()]


def read_scores(path: str | Path) -> UnitScores:
    """Read what `write_scores` wrote.

    Raises:
        ShapPruneError: one of the two files is missing or damaged.
    """
    path = Path(path)
    try:
        manifest = read_json(path.with_suffix(".json"))
        with np.load(path, allow_pickle=False) as arrays:
            values = torch.from_numpy(arrays["values"])
            draws = torch.from_numpy(arrays["draws"]) if "draws" in arrays else None
        return UnitScores(values, manifest["method"], manifest["evaluations"], manifest["seconds"], draws)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ShapPruneError(f"scores {path} are missing or damaged ({error}); score the layer again") from error
