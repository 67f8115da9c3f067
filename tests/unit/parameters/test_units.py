"""Parameters that units have, by hand and by what removal takes away."""

from __future__ import annotations

import pytest
import torch

from shapprune import ShapPruneError, remove_units
from shapprune.parameters.pooling import Pooling, pool_rows
from shapprune.parameters.units import head_places, pool_units
from tests.toys import ConvNetwork, ResidualNetwork, images, randomise
from tests.unit.transformers import CASES, build


def ones(model):
    return {name: torch.ones_like(each) for name, each in model.named_parameters()}


@pytest.mark.parametrize(
    ("kind", "layer"), [(ConvNetwork, "features.0"), (ConvNetwork, "features.4"), (ConvNetwork, "fc")]
)
def test_all_that_counts_is_what_removal_takes_away(kind, layer):
    model = randomise(kind()).eval()
    count = pool_units(model, layer, images(2))(ones(model))
    small = remove_units(model, {layer: [1]}, images(2))
    gone = sum(each.numel() for each in model.parameters()) - sum(each.numel() for each in small.parameters())
    assert count.tolist() == [gone] * len(count)


@pytest.mark.parametrize("name", ["llama", "torchvision vit", "torchvision swin"])
@pytest.mark.parametrize("of", ["neurons", "heads"])
def test_all_that_counts_of_neurons_and_heads_is_what_removal_takes_away(name, of):
    case = CASES[name]
    model, layer = build(case), getattr(case, of)[0]
    count = pool_units(model, layer, case.inputs)(ones(model))
    small = remove_units(model, {layer: [1]}, case.inputs)
    gone = sum(each.numel() for each in model.parameters()) - sum(each.numel() for each in small.parameters())
    assert count.tolist() == [gone] * len(count)


def test_a_gated_neuron_is_two_rows_and_a_column():
    case = CASES["llama"]
    model = build(case)
    generator = torch.Generator().manual_seed(0)
    values = {name: torch.rand(each.shape, generator=generator) for name, each in model.named_parameters()}
    block = "model.layers.1.mlp"
    gate, up, down = (values[f"{block}.{name}_proj.weight"].double() for name in ("gate", "up", "down"))
    whole = pool_units(model, f"{block}.gate_proj", case.inputs)
    torch.testing.assert_close(whole(values), gate.sum(1) + up.sum(1) + down.sum(0))
    mean = Pooling(whole.parts, "mean")
    torch.testing.assert_close(mean(values), whole(values) / (3 * 32))
    rows = pool_units(model, f"{block}.gate_proj", case.inputs, scope="rows")
    torch.testing.assert_close(rows(values), gate.sum(1))


def test_rows_of_a_convolution_and_its_bias_and_norm():
    model = randomise(ConvNetwork()).eval()
    values = dict(model.named_parameters())
    weight, bias = (values[f"features.0.{leaf}"].detach().double() for leaf in ("weight", "bias"))
    norm = sum(values[f"features.1.{leaf}"].detach().double() for leaf in ("weight", "bias"))
    reader = values["features.4.weight"].detach().double().sum((0, 2, 3))
    made = weight.sum((1, 2, 3)) + bias
    values = {name: each.detach() for name, each in values.items()}
    torch.testing.assert_close(pool_units(model, "features.0", images(2), scope="rows")(values), made)
    torch.testing.assert_close(pool_units(model, "features.0", images(2))(values), made + norm + reader)
    weights = pool_units(model, "features.0", images(2), biases=False)
    torch.testing.assert_close(weights(values), made - bias + reader)
    rows = pool_rows(values, model)
    torch.testing.assert_close(rows["features.0.weight"], made)
    assert "features.1.weight" not in rows
    mean = pool_rows(values, model, "mean")["features.0.weight"]
    torch.testing.assert_close(mean, made / 10)
    alone = pool_rows({"features.0.weight": values["features.0.weight"]}, model)["features.0.weight"]
    torch.testing.assert_close(alone, made - bias)


def test_a_group_of_heads_that_share_keys_has_them_all():
    case = CASES["llama"]
    model = build(case)
    places = head_places(model, case.inputs)
    queries, keys = (places[f"model.layers.1.self_attn.{name}_proj.weight"].flatten() for name in "qk")
    assert queries.tolist() == [2] * 16 + [3] * 16  # two groups of two heads of 8 numbers, behind those of layer 0
    assert keys.tolist() == [2] * 8 + [3] * 8
    assert not any("o_proj" in name or "mlp" in name for name in places)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pool_units(ConvNetwork().eval(), "fc", images(2), how="max"), "unknown pool 'max'"),
        (lambda: pool_units(ConvNetwork().eval(), "features.9", images(2)), "unknown layer 'features.9'"),
        (lambda: pool_units(ResidualNetwork().eval(), "output", images(2), scope="row"), "unknown scope 'row'"),
    ],
)
def test_what_cannot_be_pooled_is_refused(call, message):
    with pytest.raises(ShapPruneError, match=message):
        call()
