"""Pooling of parameters' numbers to rows and modules, by hand; `test_units.py` has units."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError
from shapprune.parameters.pooling import Pooling, pool_modules, pool_rows
from tests.toys import ConvNetwork, randomise
from tests.unit.transformers import CASES, build


def ones(model):
    return {name: torch.ones_like(each) for name, each in model.named_parameters()}


def test_rows_of_joint_and_transposed_weights():
    joint = nn.MultiheadAttention(4, 2)
    rows = pool_rows(ones(joint), joint)
    assert {name: each.tolist() for name, each in rows.items()} == {
        "in_proj_weight": [5.0] * 12,
        "out_proj.weight": [5.0] * 4,
    }
    model = build(CASES["gpt2"])
    name = "transformer.h.0.mlp.c_fc.weight"  # [inputs, outputs]
    values = {name: torch.arange(32.0)[:, None] * torch.ones(32, 128), name.replace("weight", "bias"): torch.ones(128)}
    assert pool_rows(values, model)[name].tolist() == [31 * 16 + 1.0] * 128


def test_modules():
    model = randomise(ConvNetwork())
    values = ones(model)
    assert pool_modules(values, ["features.0", "fc"]) == {"features.0": 40.0, "fc": 200.0}
    assert pool_modules(values, ["features"], "mean") == {"features": 1.0}
    with pytest.raises(ShapPruneError, match="is in a module 'feature'"):
        pool_modules(values, ["feature"])


def test_another_way_to_pool_is_refused():
    for call in (lambda: Pooling([], "max"), lambda: pool_modules({}, [], "max")):
        with pytest.raises(ShapPruneError, match="unknown pool 'max'; allowed: mean, sum"):
            call()
