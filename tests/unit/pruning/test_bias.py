"""FLAP's repair of biases: by hand on small layers, on a layer that had none, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError, load, prune, remove_units, save
from shapprune.networks.biases import added_biases
from shapprune.pruning.repair import repair
from tests.toys import images
from tests.unit.pruning.repaired import at, removed_and_repaired
from tests.unit.transformers import CASES, build, logits


def test_a_bias_gets_what_the_units_put_in_on_average():
    with torch.no_grad():
        model = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 2))
        model[0].weight.copy_(torch.tensor([[1.0], [2.0], [-1.0]]))
        model[0].bias.zero_()
        model[2].weight.copy_(torch.tensor([[1.0, 10.0, 0.0], [0.0, -1.0, 1.0]]))
        model[2].bias.copy_(torch.tensor([0.5, 0.0]))
    x = torch.tensor([[1.0], [3.0], [-4.0]])  # unit 1 is 2, 6 and 0
    small = removed_and_repaired(model, {"0": [1]}, x, "bias")
    assert torch.allclose(small[2].bias, torch.tensor([0.5 + 80 / 3, -8 / 3]))
    assert torch.equal(small[2].weight, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))


def test_positions_at_the_edge_of_a_convolution_count_as_they_are():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 3, padding=1)).eval()
    with torch.no_grad():
        model[0].weight.fill_(0.0)
        model[0].bias.copy_(torch.tensor([0.0, 1.0]))
        model[1].weight.fill_(1.0)
        model[1].bias.fill_(0.0)
    small = removed_and_repaired(model, {"0": [1]}, torch.zeros(3, 1, 2, 2), "bias")
    assert small[1].bias.item() == pytest.approx(4)  # four of nine places are inside the image of 2 x 2


def test_a_convolution_without_a_bias_gets_one_and_keeps_its_means():
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3, bias=False), nn.Flatten()
    model, x = nn.Sequential(*layers, nn.Linear(64, 2)).eval(), images(7, (1, 8, 8))
    with torch.no_grad():
        small = removed_and_repaired(model, {"0": [0, 4]}, x, "bias")
        before, after = (each[:3](x).mean((0, 2, 3)) for each in (model, small))
    assert torch.allclose(after, before, atol=1e-6)
    assert model[2].bias is None
    lost = (small(x) - model(x)).norm()
    assert (repair(small, model, {"0": [0, 4]}, x, "least-squares")(x) - model(x)).norm() < lost


def test_a_batchnorm_takes_what_a_layer_without_a_bias_cannot():
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Flatten()
    model, x = nn.Sequential(*layers, nn.Linear(48, 2)).eval(), images(6, (1, 8, 8))
    with torch.no_grad():
        model[3].running_var.mul_(4)
        small = removed_and_repaired(model, {"0": [2]}, x, "bias")
        assert small[2].bias is None
        assert torch.allclose(small[:4](x).mean((0, 2, 3)), model[:4](x).mean((0, 2, 3)), atol=1e-6)


@pytest.mark.parametrize("name", ["llama", "gpt2", "torchvision vit"])
def test_heads_and_neurons_of_transformers(name, tmp_path):
    case = CASES[name]
    model = build(case)
    units = {case.heads[0]: [0], case.neurons[0]: [1, 3]}
    small = removed_and_repaired(model, units, case.inputs, "bias")
    plain = remove_units(model, units, case.inputs)
    readers = [case.heads[1], case.neurons[1]]
    assert added_biases(small) == (readers if name == "llama" else [])
    for reader in readers:
        layer, before, without = (each.get_submodule(reader) for each in (small, model, plain))
        assert torch.equal(layer.weight, without.weight)
        difference = layer.bias - (0 if before.bias is None else before.bias)
        # The first of the readers sees in the plain network what it sees in the whole one, but for the units.
        if reader == min(readers, key=list(dict(model.named_modules())).index):
            means = [at(each, reader, case.inputs).flatten(0, -2).mean(0) for each in (model, plain)]
            torch.testing.assert_close(difference.detach(), means[0] - means[1], atol=1e-5, rtol=1e-4)
    save(small, tmp_path / "small")
    again = load(tmp_path / "small", lambda: build(case))
    with torch.no_grad():
        assert torch.equal(logits(again(case.inputs)), logits(small(case.inputs)))
    assert added_biases(again) == added_biases(small)


def test_what_cannot_be_mended_is_named():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            units = self.first(x)
            return self.second(torch.relu(units)) + self.second(torch.tanh(units))

    model, x = Twice().eval(), torch.randn(5, 3)
    with pytest.raises(ShapPruneError, match=r"repair 'bias' cannot mend 'second', .* not used just once"):
        removed_and_repaired(model, {"first": [1]}, x, "bias")


def test_a_network_that_fits_a_budget():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3, bias=False))
    result = prune(model, torch.randn(60, 4), macs=0.5, steps=0, repair="bias", criterion="fluctuation")
    assert result.model[2].bias is not None
    assert list(result.stages) == ["removed", "repaired"]
