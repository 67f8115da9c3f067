"""The damage of a layer, against the whole network with the weights of its readers changed by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from shapprune.criteria.elimination import fit_to_fewer
from shapprune.criteria.reconstruction import Readers
from shapprune.data.vision import torchvision
from shapprune.pruning.damage import DamageMeter
from shapprune.pruning.divergence import divergence
from shapprune.pruning.selection import Structure
from tests.residual import SmallResNet
from tests.toys import ConvNetwork, images, randomise

# ConvNetwork has a view behind its convolutions, SmallResNet a sum, MobileNet depthwise layers and no biases.
NETWORKS = {
    "chain": (ConvNetwork, (1, 8, 8)),
    "residual": (SmallResNet, (1, 8, 8)),
    "mobilenet": (lambda: torchvision.models.mobilenet_v2(num_classes=5, width_mult=0.25), (3, 32, 32)),
}


def read(structure, layer, x, widths):
    """How the units of a layer are read, and the weights fitted to some numbers of them; the first leave first."""
    reads = Readers(structure.dependencies).read({layer: structure.readers[layer]}, x)[layer]
    found = fit_to_fewer(reads, list(range(structure.sizes.full[layer])), widths, 0.01)
    fits = [(width, [each.clone() for each in weights]) for width, weights in found]
    return {each.name: reading for each, reading in zip(structure.readers[layer], reads, strict=True)}, fits


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_it_is_that_of_the_whole_network(name):
    make, shape = NETWORKS[name]
    model, x = randomise(make()).eval(), images(9, shape)
    [each for each in model.modules() if isinstance(each, nn.Linear)][-1].weight.mul_(20)  # outputs that differ
    structure = Structure.of(model, x[:2])
    meter, before = DamageMeter(structure.graph, x), copy.deepcopy(model.state_dict())
    seen = []
    for layer in list(structure.groups)[:4]:
        units = structure.sizes.full[layer]
        reads, fits = read(structure, layer, x, [1, units // 2])
        found = meter.measure(reads, fits)
        assert sorted(found) == [1, units // 2, units]
        assert found[units] == 0
        for width, weights in fits:
            changed = copy.deepcopy(model)
            for (reader, reading), fitted in zip(reads.items(), weights, strict=True):
                module = changed.get_submodule(reader)
                module.weight.copy_(fitted.mT.reshape(module.weight.shape))
                shift = reading.means @ (reading.weights - fitted)
                norm = structure.graph.norm_behind(reader)
                if module.bias is not None:
                    module.bias.add_(shift)
                elif norm is not None:
                    changed.get_submodule(norm).running_mean.sub_(shift)
            expected = divergence(model(x), changed(x), 4.0).item()
            assert found[width] == pytest.approx(expected, rel=1e-3, abs=1e-7), (layer, width)
            seen.append(expected)
    assert max(seen) > 1e-6
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_a_batch_is_makes_no_difference():
    model, x = randomise(nn.Sequential(ConvNetwork())).eval(), images(60, (1, 8, 8))
    structure = Structure.of(model, x[:2])
    (layer, *_) = structure.groups
    reads, fits = read(structure, layer, x, [1])
    whole, *halves = (DamageMeter(structure.graph, some).measure(reads, fits)[1] for some in (x, *x.split(30)))
    assert whole == pytest.approx(sum(halves) / 2, rel=1e-4)
