"""Score files: what is written reads back equal, or is refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shapprune import ShapPruneError, UnitScores
from shapprune.shapley.score_files import read_scores, write_scores


def scores(draws=True):
    random = np.random.default_rng(0)
    return UnitScores(
        torch.from_numpy(random.normal(size=(4, 3))), "permutation", 12, 0.5, torch.zeros(2, 4, 3) if draws else None
    )


@pytest.mark.parametrize("draws", [True, False])
def test_scores_read_back(tmp_path, draws):
    path = tmp_path / "trial0.npz"
    write_scores(path, scores(draws), np.arange(4), {"layer": "fc1"})
    found = read_scores(path)
    assert torch.equal(found.values, scores().values)
    assert (found.criterion, found.evaluations, found.seconds) == ("permutation", 12, 0.5)
    assert (found.draws is not None) == draws
    first = path.read_bytes()
    write_scores(path, scores(draws), np.arange(4), {"layer": "fc1"})
    assert path.read_bytes() == first  # the same scores are the same bytes


@pytest.mark.parametrize("harm", ["cut", "no manifest", "no values"])
def test_damaged_scores_are_refused(tmp_path, harm):
    path = tmp_path / "trial0.npz"
    write_scores(path, scores(), np.arange(4), {})
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:100])
    elif harm == "no manifest":
        path.with_suffix(".json").unlink()
    else:
        np.savez(path, images=np.arange(4))
    with pytest.raises(ShapPruneError, match="missing or damaged"):
        read_scores(path)
