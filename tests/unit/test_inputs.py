"""Images come back as they were, also from networks that work on their inputs in place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import shapprune
from shapprune.criteria.scoring import CATALOG
from shapprune.game.branch_game import BranchGame
from shapprune.graph.counting import count_macs
from shapprune.parameters.expansion import Expansion
from shapprune.parameters.hessians import hessians_in_turn, input_hessians
from shapprune.parameters.probe import unit_activations
from shapprune.parameters.quantisation import Scheme, quantise
from shapprune.parameters.scores import score_parameters
from shapprune.pruning.repair import repair
from tests.toys import ConvNetwork, ResidualNetwork, images, labels, randomise

GONE = {"1.features.0": [1], "1.fc": [0, 3]}
SHAPE = (1, 8, 8)


def network() -> nn.Module:
    return randomise(nn.Sequential(nn.ReLU(inplace=True), ConvNetwork())).eval()


def residual() -> nn.Module:
    return randomise(nn.Sequential(nn.ReLU(inplace=True), ResidualNetwork())).eval()


def play(game) -> None:
    game.value(torch.ones(1, game.units, dtype=torch.bool))
    game.gate_gradient(torch.ones(1, game.units))


def repaired(x, how):
    repair(shapprune.remove_units(network(), GONE, x.clone()), network(), GONE, x, how)


USES = {
    "prune": lambda x, y: shapprune.prune(network(), x, macs=0.6, steps=2),
    "prune by labels": lambda x, y: shapprune.prune(network(), x, y, macs=0.6, steps=0, criterion="taylor"),
    "prune without repair": lambda x, y: shapprune.prune(network(), x, macs=0.6, steps=0, repair="batchnorm"),
    "tradeoff": lambda x, y: shapprune.tradeoff(network(), x, budgets=(0.8, 0.6), steps=0),
    "layer": lambda x, y: play(shapprune.LayerGame(network(), "1.fc", x, y)),
    "branches": lambda x, y: play(BranchGame(residual(), x, y)),
    "layers": lambda x, y: shapprune.prunable_layers(network(), x),
    "remove": lambda x, y: shapprune.remove_units(network(), GONE, x),
    "latency": lambda x, y: shapprune.measure_latency(network(), x[:1]),
    "macs": lambda x, y: count_macs(network(), x),
    "least squares": lambda x, y: repaired(x, "least-squares"),
    "batchnorm": lambda x, y: repaired(x, "batchnorm"),
    "bias": lambda x, y: repaired(x, "bias"),
    "parameters": lambda x, y: score_parameters(network(), x, y, Expansion(hessian="exact")),
    "parameters without labels": lambda x, y: score_parameters(network(), x, payoff="kl"),
    "quantise": lambda x, y: quantise(network(), x, Scheme(bits=4)),
    "hessians": lambda x, y: input_hessians(network(), x, ["1.fc"]),
    "hessians in turn": lambda x, y: list(hessians_in_turn(network(), x, ["1.fc"])),
    "activations": lambda x, y: unit_activations(network(), ["1.fc"], x),
}
CRITERIA = [name for name, each in CATALOG.items() if each.game in ("Game", "LayerGame")]


@pytest.mark.parametrize("use", USES)
def test_images_are_left_alone(use):
    x = images(12, SHAPE)
    assert (x < 0).any()
    USES[use](x, labels(12))
    assert torch.equal(x, images(12, SHAPE)), use


@pytest.mark.parametrize("criterion", CRITERIA)
def test_criteria_leave_images_alone(criterion):
    x = images(12, SHAPE)
    shapprune.score(shapprune.LayerGame(network(), "1.features.0", x, labels(12)), criterion)
    assert torch.equal(x, images(12, SHAPE))
