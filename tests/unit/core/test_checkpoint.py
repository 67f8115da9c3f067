"""Checkpoints: taken up by the same work only; `tests/unit/shapley/test_unfinished.py` has those of scorings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shapprune.core.checkpoint import digest, load_checkpoint, save_checkpoint


def test_a_checkpoint_is_that_of_its_identity(tmp_path):
    path = tmp_path / "state.pt"
    assert load_checkpoint(path, "one") is None
    save_checkpoint(path, "one", {"sums": torch.ones(2)})
    assert torch.equal(load_checkpoint(path, "one")["sums"], torch.ones(2))
    assert load_checkpoint(path, "other") is None
    path.write_bytes(path.read_bytes()[:50])
    assert load_checkpoint(path, "one") is None


@pytest.mark.parametrize(
    "other",
    [
        [torch.ones(2), "a", 2],
        [torch.ones(2), "b", 1],
        [torch.ones(1, 2), "a", 1],
        [torch.ones(2).double(), "a", 1],
        [torch.tensor([1.0, 2.0]), "a", 1],
        ["a", torch.ones(2), 1],
    ],
)
def test_digests_differ_where_anything_does(other):
    same = [np.ones(2, dtype=np.float32), "a", 1]
    assert digest([torch.ones(2), "a", 1]) == digest(same) != digest(other)
