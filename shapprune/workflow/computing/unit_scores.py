"""The scores by which a task chooses units of all layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from shapprune.shapley.draws import SHARED, generator
from shapprune.shapley.score_files import read_scores
from shapprune.workflow.store.work import Work


def unit_scores(parts: Mapping[str, Any], label: str, work: Work) -> dict[str, Tensor]:
    """Layer -> the scores of its units: those that a task consumes, or random numbers drawn by its trial."""
    if "scores" not in parts:
        drawn = {
            layer: generator(parts["trial"], layer, SHARED, 0).random(units) for layer, units in parts["layers"].items()
        }
        return {layer: torch.from_numpy(each) for layer, each in drawn.items()}
    return {
        layer: read_scores(f"{work.consumed(label, 'scores', layer)}.npz").aggregate(parts["aggregate"])
        for layer in parts["scores"]
    }
