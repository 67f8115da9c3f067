"""Layers that get a bias: stored with the network, and what cannot have one."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError, load, save
from shapprune.networks.biases import add_bias, added_biases


def build():
    return nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2, bias=False))


def test_what_it_got_is_saved_and_loaded(tmp_path):
    model = build()
    model[3].weight.requires_grad_(False)
    for name in ("0", "3"):
        add_bias(model, name)
    with torch.no_grad():
        model[0].bias += 1
    assert (model[0].bias.requires_grad, model[3].bias.requires_grad) == (True, False)
    save(model, tmp_path / "net")
    assert json.loads((tmp_path / "net.json").read_text())["biases"] == ["0", "3"]
    again = load(tmp_path / "net", build)
    images = torch.rand(2, 1, 4, 4)
    assert torch.equal(again(images), model.eval()(images))
    assert added_biases(again) == ["0", "3"]
    assert added_biases(build()) == []


@pytest.mark.parametrize("name", ["1", "2", "none"])
def test_what_cannot_have_one_is_named(name):
    with pytest.raises(ShapPruneError, match=f"'{name}' of Sequential is no layer without a bias"):
        add_bias(build(), name)


def test_a_layer_has_one_bias():
    model = build()
    add_bias(model, "0")
    with pytest.raises(ShapPruneError, match="'0' of Sequential is no layer without a bias"):
        add_bias(model, "0")
