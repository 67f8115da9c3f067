"""What can be done with networks of torchvision: the rows of the table, on small networks in their place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks import torchvision_networks
from benchmarks.torchvision_networks import COLUMNS, FAMILIES, draw_units, measure, run
from shapprune import LayerGame, ShapPruneError, prunable_layers
from shapprune.core.tables import read_rows
from shapprune.data.vision import torchvision
from tests.toys import ResidualNetwork, images


class Halves(nn.Module):
    """Cuts channels in two and joins them the other way round."""

    def forward(self, x):
        one, other = x.chunk(2, 1)
        return torch.cat([other, one], 1)


class Small(nn.Sequential):
    """Three layers that lose units alone, one whose units change places, and the output."""

    def __init__(self, classes):
        super().__init__(
            *(nn.Conv2d(3, 24, 3), nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 6, 3, stride=8), nn.ReLU()),
            *(nn.Conv2d(6, 4, 1), Halves(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            *(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, classes)),
        )


class Unknown(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer = nn.Linear(3, classes)

    def forward(self, x):
        return self.layer(x.mean((2, 3)) if x.sum() > 0 else x[:, :, 0, 0])


@pytest.fixture
def made(monkeypatch):
    """The networks that were made, by name, in turn."""
    kinds, seen = {"small": Small, "unknown": Unknown}, []

    def get_model(name, weights, num_classes):
        seen.append(name)
        return kinds[name](num_classes)

    monkeypatch.setattr(torchvision.models, "get_model", get_model)
    return seen


def test_a_network_is_scored_and_loses_units_and_what_is_left_is_stored(made):
    row = measure("small", 2)
    assert tuple(row) == COLUMNS
    counts = {"layers": 4, "scored": 4, "alone": 3, "together": 0, "whole": 1, "removed": 2 + 1 + 1}
    assert {name: row[name] for name in counts} == counts
    assert row["difference"] < 1e-5
    assert row["loaded"] == 0
    assert row["onnx"] == "yes"
    assert row["reasons"] == f"1 x {row['reason']}"
    assert row["refused"] == ""


def test_a_network_that_is_refused_has_the_reason(made):
    row = measure("unknown", 2)
    assert row["refused"].startswith("torch.fx cannot trace Unknown")
    assert row["layers"] == ""


def test_a_layer_that_cannot_be_scored_hides_no_other(made, monkeypatch):
    def refuse(model, layer, *others):
        if layer == "3":
            raise ShapPruneError("no game")
        return LayerGame(model, layer, *others)

    monkeypatch.setattr(torchvision_networks, "LayerGame", refuse)
    row = measure("small", 2)
    assert (row["scored"], row["refused"], row["removed"]) == (3, "no game", 4)


def test_a_network_that_cannot_be_exported_is_stored_all_the_same(made, monkeypatch):
    monkeypatch.setattr("shapprune.networks.export.TOLERANCE", -1.0)
    row = measure("small", 2)
    assert row["onnx"].startswith("Small was not exported to")
    assert row["loaded"] == 0


def test_networks_of_the_table_are_not_looked_at_again(made, tmp_path):
    out = tmp_path / "new" / "table.csv"
    run(["small"], out, 2)
    made.clear()
    run(["small", "unknown"], out, 2)
    assert made == ["unknown"]
    assert [row["net"] for row in read_rows(out)] == ["small", "unknown"]
    lines = out.with_suffix(".md").read_text().splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| small", "| unknown"]
    run(["small"], out, 2, budget=True)  # which was not measured
    shares = {row["net"]: row["share"] for row in read_rows(out)}
    assert 0 < float(shares["small"]) <= torchvision_networks.BUDGET
    assert shares["unknown"] == ""


def test_a_tenth_of_each_layer_is_drawn_and_groups_lose_the_same():
    layers = [each for each in prunable_layers(ResidualNetwork(), images(2), coupled=True) if each.group]
    draws = [draw_units(layers, seed) for seed in range(20)]
    assert draws == [draw_units(layers, seed) for seed in range(20)]
    assert all(each["stem"] == each["conv2"] for each in draws)
    assert all(len(gone) == 1 for each in draws for gone in each.values())
    assert len({each["conv1"][0] for each in draws}) == 5  # any unit, not those that leave on trial


def test_layers_that_begin_at_zero_hide_nothing():
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    torchvision_networks.shake(layer)
    assert layer.weight.all()


def test_every_family_of_torchvision_is_there():
    known = torchvision.models.list_models(module=torchvision.models)
    assert set(FAMILIES) <= set(known)
    kinds = {torchvision.models.get_model_builder(name).__module__ for name in known}
    assert kinds == {torchvision.models.get_model_builder(name).__module__ for name in FAMILIES}
