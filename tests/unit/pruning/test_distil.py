"""Distilling: what is compared, and that training is resumable and leaves nothing behind."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError
from shapprune.data.vision import torchvision
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.builders import build
from shapprune.pruning import distil
from shapprune.pruning.distil import Distilling, last_features
from shapprune.pruning.divergence import divergence
from shapprune.pruning.removal import remove_units
from tests.toys import ConvNetwork, images, randomise


@pytest.mark.parametrize(
    ("network", "shape", "expected"),
    [
        (lambda: build("resnet20", shape=(3, 32, 32)), (3, 32, 32), (64, 8, 8)),
        (lambda: torchvision.models.squeezenet1_1(), (3, 64, 64), (512, 3, 3)),
        (lambda: torchvision.models.shufflenet_v2_x0_5(), (3, 64, 64), (1024, 2, 2)),
        (lambda: torchvision.models.densenet121(), (3, 64, 64), (1024, 2, 2)),
        (lambda: build("lenet5"), (1, 28, 28), (25,)),
    ],
)
def test_the_last_features_are_those_before_pooling(network, shape, expected):
    graph = UnitGraph(network().eval(), torch.rand(2, *shape))
    assert graph.shapes[last_features(graph)][1:] == expected


@pytest.fixture
def pruned():
    """A network, its graph, images, the network without a unit of the layer before the last, the inputs left."""
    model, x = randomise(ConvNetwork()).eval(), images(60)
    graph = UnitGraph(model, x[:2])
    layer = list(graph.calls)[-2]
    small = remove_units(model, {layer: [1]}, x[:2]).eval()
    last = graph.modules[list(graph.calls)[-1]].weight.shape[1]
    per_unit = last // graph.units_of(layer)
    kept = torch.tensor([each for each in range(last) if each // per_unit != 1])
    return model, graph, x, small, kept


def test_outputs_come_nearer_also_on_images_that_were_not_seen(pruned):
    model, graph, x, small, kept = pruned
    others = images(200, seed=5)
    before = divergence(model(others), small(others)).item()
    Distilling(small, graph, x, steps=150, rate=3e-3, kept=kept).run()
    assert divergence(model(others), small(others)).item() < 0.5 * before


@pytest.fixture(params=[True, False], ids=["used again", "used once"])
def room(request, monkeypatch):
    """Whether there is memory for batches that are used again."""
    if not request.param:
        monkeypatch.setattr(distil, "_BYTES", 0)
    return request.param


def test_a_training_that_was_cut_off_continues_as_if_it_had_not(pruned, room, tmp_path, monkeypatch):
    _, graph, x, small, kept = pruned
    whole, cut_off = copy.deepcopy(small), copy.deepcopy(small)
    Distilling(whole, graph, x, steps=240, rate=1e-3, kept=kept).run()

    step, taken = Distilling._step, []

    def count(self, number, lesson):
        if number == 190 and not cut_off.training:
            raise KeyboardInterrupt
        taken.append(number)
        step(self, number, lesson)

    file = tmp_path / "unfinished"
    monkeypatch.setattr(Distilling, "_step", count)
    with pytest.raises(KeyboardInterrupt):
        Distilling(cut_off, graph, x, steps=240, rate=1e-3, kept=kept).run(file)
    assert taken.pop() == 189
    taken.clear()
    cut_off.train()
    again = copy.deepcopy(small)
    Distilling(again, graph, x, steps=240, rate=1e-3, kept=kept).run(file)
    assert taken == list(range(160 if room else 150, 240))
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), again.parameters(), strict=True))


def test_the_whole_network_is_asked_once_about_a_batch_that_is_used_four_times(pruned, room, monkeypatch):
    _, graph, x, small, kept = pruned
    learnt, step = [], Distilling._step

    def keep(self, number, lesson):
        learnt.append(lesson.images)
        step(self, number, lesson)

    monkeypatch.setattr(Distilling, "_step", keep)
    training = Distilling(small, graph, x, steps=170, rate=1e-3, kept=kept)
    asked, run = [], distil._run
    monkeypatch.setattr(distil, "_run", lambda cut, *given: asked.append(cut) or run(cut, *given))
    training.run()
    uses = Counter(id(each) for each in learnt)
    assert len(learnt) == 170
    assert asked.count(training._whole) == (20 + 20 + 10 if room else 170)
    assert sorted(uses.values()) == ([1] * 10 + [4] * 40 if room else [1] * 170)


def test_flags_modes_and_gradients_are_handed_back(pruned):
    model, graph, x, small, kept = pruned
    small.train()
    frozen = next(small.parameters()).requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    Distilling(small, graph, x, steps=2, rate=1e-3, kept=kept).run()
    assert small.training
    assert not frozen.requires_grad
    assert all(each.requires_grad for each in list(small.parameters())[1:])
    assert all(each.grad is None for each in small.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_rate_at_which_it_diverges_is_an_error(pruned):
    _, graph, x, small, kept = pruned
    training = Distilling(small, graph, x, steps=20, rate=1e20, kept=kept)
    with pytest.raises(ShapPruneError, match="learning rate 1e\\+20"):
        training.run()


def test_images_are_mixed_and_get_parts_of_others_in_turn(pruned, monkeypatch):
    _, graph, x, small, kept = pruned
    done = []
    for name in ("mix", "paste"):
        monkeypatch.setattr(f"shapprune.pruning.distil.{name}", lambda batch, _, name=name: done.append(name) or batch)
    Distilling(small, graph, x, steps=4, rate=1e-3, kept=kept).run()
    assert done == ["mix", "paste", "mix", "paste"]


def test_rows_of_numbers_are_mixed_only(monkeypatch):
    monkeypatch.setattr("shapprune.pruning.distil.paste", None)
    model, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).eval(), torch.rand(20, 4)
    small = remove_units(model, {"0": [0]}, x[:2]).eval()
    Distilling(small, UnitGraph(model, x[:2]), x, steps=2, rate=1e-3, kept=torch.arange(1, 6)).run()


def test_inputs_that_are_indices_are_not_mixed():
    model = nn.Sequential(nn.Embedding(10, 6), nn.Flatten(), nn.Linear(18, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    x = torch.randint(10, (20, 3))
    small = remove_units(model, {"2": [0]}, x[:2]).eval()
    Distilling(small, UnitGraph(model, x[:2]), x, steps=2, rate=1e-3, kept=torch.arange(1, 8)).run()
