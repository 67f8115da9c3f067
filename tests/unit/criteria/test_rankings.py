"""Rankings of other papers, by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import shapprune
from benchmarks.max_network import MaxNetwork, squared_error
from shapprune import LayerGame, ShapPruneError
from shapprune.networks.builders import build
from tests.games import POINTS
from tests.toys import ConvNetwork, images, labels, randomise


def game(layer="features.4", model=None, count=7, **options):
    return LayerGame(randomise(model or ConvNetwork()), layer, images(count), labels(count), **options)


def max_game():
    """The max network whose last unit has a weight of -0.1, so that it is off by e = -0.1 (x1 + x2)."""
    model = MaxNetwork()
    with torch.no_grad():
        model.output.weight[0, 3] = -0.1
    return LayerGame(model, "hidden", POINTS, POINTS.amax(1), payoff=squared_error)


def chain(*modules):
    """A network of these modules, and a linear layer with weights 1, -2, 0, 3, ... to each of two outputs."""
    channels = modules[0].weight.shape[0]
    model = nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 2, bias=False)).eval()
    with torch.no_grad():
        model[-1].weight.copy_(torch.tensor([1.0, -2.0, 0.0, 3.0])[:channels].expand(2, -1))
    return model


def filters(weights, biases=None):
    """A 1x1 convolution of one channel."""
    conv = nn.Conv2d(1, len(weights), 1, bias=biases is not None)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor(weights).view(-1, 1, 1, 1))
        if biases is not None:
            conv.bias.copy_(torch.tensor(biases))
    return conv


def norm(scales, shifts, means, variances):
    """A BatchNorm with these numbers; eps is 0, so that they are all there is."""
    bn = nn.BatchNorm2d(len(scales), eps=0)
    values = (scales, shifts, means, variances)
    with torch.no_grad():
        for each, numbers in zip((bn.weight, bn.bias, bn.running_mean, bn.running_var), values, strict=True):
            each.copy_(torch.tensor(numbers))
    return bn


def test_fisher():
    # The activations are a = (relu(x2 - x1) / 2, relu(x1 - x2), x1 + x2, x1 + x2). The payoff is -e^2, so its gradient
    # in unit i is -2 e w_i = 0.2 (x1 + x2) w_i, with w = (1, 0.5, 0.5, -0.1).
    gradient = 0.2 * POINTS.sum(1, keepdim=True) * torch.tensor([1.0, 0.5, 0.5, -0.1])
    activation = torch.tensor([[0.5, 0, 1, 1], [0, 1, 1, 1], [0.5, 0, 3, 3], [0, 1, 3, 3]])
    values = shapprune.score(max_game(), "fisher").values
    np.testing.assert_allclose(values, (gradient * activation) ** 2 / 2, rtol=1e-4, atol=1e-9)
    assert values[2].tolist() == pytest.approx([0.045, 0, 0.405, 0.0162], rel=1e-4)


def test_fisher_sums_over_positions_before_it_squares():
    g = game()
    signed = shapprune.score(g, "taylor", signed=True).values
    np.testing.assert_allclose(shapprune.score(g, "fisher").values, signed.double() ** 2 / 2, rtol=1e-4)


def test_batchnorm_scale():
    conv = filters([1.0, 1.0, 1.0])
    model = chain(conv, norm([-2.0, 0.5, 0.0], [9.0, 9.0, 9.0], [0.0] * 3, [4.0] * 3), nn.ReLU())
    g = LayerGame(model, "0", images(2), labels(2, 2))
    assert shapprune.score(g, "batchnorm-scale").values.tolist() == [[2, 0.5, 0]]


def test_fpgm():
    # Rows (0, 0), (3, 4) and (0, 4) are 5, 4 and 3 apart.
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]]))
    g = LayerGame(model, "0", POINTS, labels(4, 2))
    np.testing.assert_allclose(shapprune.score(g, "fpgm").values, [[9, 8, 7]])


def test_fpgm_in_pieces(monkeypatch):
    model = ConvNetwork(hidden=50)
    whole = shapprune.score(game("fc", model), "fpgm").values
    weight = model.fc.weight.detach().double()
    np.testing.assert_allclose(whole[0], (weight[:, None] - weight[None]).norm(dim=2).sum(1), rtol=1e-6)
    monkeypatch.setattr("shapprune.criteria.rankings._AT_ONCE", 1)
    np.testing.assert_allclose(shapprune.score(game("fc", model), "fpgm").values, whole, rtol=1e-6)


def test_hrank(monkeypatch):
    # Of the unit matrix I: relu(I) has rank 3, the constant 1 has rank 1, relu(-I) = 0, and 1 - I is regular. Of a
    # single row of ones: 1, 1, 0, and what is left of the ones is two rows, rank 1.
    row = torch.zeros(3, 3)
    row[1] = 1
    x = torch.stack([torch.eye(3), row])[:, None]
    model = chain(filters([1.0, 0.0, -1.0, -1.0], [0.0, 1.0, 0.0, 1.0]), nn.ReLU())
    expected = [[3, 1, 0, 3], [1, 1, 0, 1]]
    assert shapprune.score(LayerGame(model, "0", x, labels(2, 2)), "hrank").values.tolist() == expected
    monkeypatch.setattr("shapprune.criteria.rankings._AT_ONCE", 1)
    assert shapprune.score(LayerGame(model, "0", x, labels(2, 2)), "hrank").values.tolist() == expected


def test_hrank_without_matrices():
    assert shapprune.score(max_game(), "hrank").values.tolist() == [[1, 0, 1, 1], [0, 1, 1, 1]] * 2
    vectors = nn.Sequential(nn.Conv1d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    with torch.no_grad():
        vectors[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1))
        vectors[0].bias.zero_()
    g = LayerGame(vectors, "0", torch.ones(1, 1, 4), labels(1, 2))
    assert shapprune.score(g, "hrank").values.tolist() == [[1, 0]]
    blocks = nn.Sequential(nn.Conv3d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2))
    with torch.no_grad():
        blocks[0].weight.copy_(torch.tensor([1.0, 0.0]).view(2, 1, 1, 1, 1))
        blocks[0].bias.copy_(torch.tensor([0.0, 1.0]))
    block = torch.tensor([[1.0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]]).view(1, 1, 2, 2, 3)
    assert shapprune.score(LayerGame(blocks, "0", block, labels(1, 2)), "hrank").values.tolist() == [[2, 1]]


def test_snip():
    # The gradient of the loss in the weights of unit i is the mean of 2 e w_i x over the points where the unit is on,
    # e = (-0.1, -0.1, -0.3, -0.3). Unit 0 is on at the points 0 and 2: (0 - 0.6, -0.2 - 1.2) / 4 = (-0.15, -0.35),
    # times its weights (-0.5, 0.5). Unit 1 is on at 1 and 3: (-0.1 - 0.6, 0 - 0.3) / 4 = (-0.175, -0.075), times
    # (1, -1). Units 2 and 3 are on everywhere: the mean of e x is (-0.25, -0.25), times 1 and times -0.2.
    np.testing.assert_allclose(shapprune.score(max_game(), "snip").values, [[0.25, 0.25, 0.5, 0.1]], rtol=1e-5)


def two_units():
    """A linear network of two units and two outputs."""
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[2.0], [-1.0]]))
        model[1].weight.copy_(torch.tensor([[1.0, 3.0], [0.0, 1.0]]))
    return model


def test_grasp():
    # With x = 1 and label 0 the loss is log(1 + exp(-s)), s = d.w / T, where d = (1, 2) is the difference of the
    # outputs' weights V and w = (2, -1): s = 0. With q = 1 - sigmoid(s) = 1/2 the gradient is -q d / T in w, -q w / T
    # in V_0 and q w / T in V_1, so half its square is q^2 (|d|^2 + 2 |w|^2) / (2 T^2). Since dq/ds = -q (1 - q), the
    # gradient of this in w is [-q^2 (1 - q) d / T (|d|^2 + 2 |w|^2) + 2 q^2 w] / T^2 = [-15/8 d / T + w / 2] / T^2.
    g = LayerGame(two_units(), "0", torch.ones(1, 1), torch.zeros(1, dtype=torch.long))
    for t in (1.0, 5.0, 200.0):
        expected = [2 * (-15 / 8 / t + 1) / t**2, -1 * (-15 / 4 / t - 1 / 2) / t**2]
        np.testing.assert_allclose(shapprune.score(g, "grasp", temperature=t).values, [expected], rtol=1e-5)
    assert shapprune.score(g, "grasp").values.tolist() == shapprune.score(g, "grasp", temperature=200).values.tolist()


def test_grasp_is_weight_times_the_gradient_of_half_the_squared_gradient():
    g = game()
    model = copy.deepcopy(g.model).eval()
    weights = [each.weight for each in model.modules() if isinstance(each, (nn.Conv2d, nn.Linear))]
    loss = F.cross_entropy(model(g.images) / 10, g.labels)
    half = sum((each**2).sum() for each in torch.autograd.grad(loss, weights, create_graph=True)) / 2
    (slope,) = torch.autograd.grad(half, model.features[4].weight)
    expected = (model.features[4].weight * slope).detach().flatten(1).sum(1)
    np.testing.assert_allclose(shapprune.score(g, "grasp", temperature=10).values[0], expected, rtol=1e-4)


def token_game() -> LayerGame:
    options = {"width": 4, "depth": 1, "heads": 2, "head_dim": 2, "hidden": 3}
    tokens = torch.arange(10).view(2, 5) % 4
    return LayerGame(randomise(build("char_gpt", (4,), 4, **options)), "blocks.0.fc1", tokens[:, :-1], tokens[:, 1:])


def test_grasp_goes_through_attention():
    g = token_game()
    model = g.model
    weights = [each.weight for each in model.modules() if isinstance(each, nn.Linear)]
    with sdpa_kernel(SDPBackend.MATH):
        loss = F.cross_entropy(model(g.images).flatten(0, 1), g.labels.flatten())
        slopes = torch.autograd.grad(loss, weights, create_graph=True)
        own = model.blocks[0].fc1.weight
        (curved,) = torch.autograd.grad(sum(each.square().sum() for each in slopes) / 2, own)
    expected = (own * curved).sum(1).detach().numpy()
    np.testing.assert_allclose(shapprune.score(g, "grasp", temperature=1).values[0], expected, rtol=1e-3)


def test_synflow_is_refused_of_tokens():
    with pytest.raises(ShapPruneError, match=r"synflow sends an image of ones .*, but this one takes tokens"):
        shapprune.score(token_game(), "synflow")


def test_synflow():
    # R is what flows from an input of ones: |w_i1| + |w_i2| = 1, 2, 2, 2 into the units, times |v_i| = 1, .5, .5, .1.
    np.testing.assert_allclose(shapprune.score(max_game(), "synflow").values, [[1, 1, 1, 0.2]], rtol=1e-6)


def test_synflow_through_a_batchnorm():
    # Of an input of ones the maps are |w| = 3, 2, 1. Behind the norm, all its numbers positive, they are
    # (3 - 1) / 2 * 4 + 1, (2 - 3) * 1 + 0.5 < 0, which the ReLU cuts off, and (1 - 0) * 5. The slope in |w| is scale
    # over deviation where the unit is on, times 1, 2 and 0 twice, since there are two outputs.
    bn = norm([-4.0, 1.0, 5.0], [-1.0, -0.5, 0.0], [-1.0, -3.0, 0.0], [4.0, 1.0, 1.0])
    g = LayerGame(chain(filters([-3.0, 2.0, 1.0]), bn, nn.ReLU()), "0", images(5), labels(5, 2))
    np.testing.assert_allclose(shapprune.score(g, "synflow").values, [[3 * 2 * 2, 0, 0]], rtol=1e-6)


def test_synflow_looks_at_no_image_and_does_not_overflow():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.fill_(1e20)
        model[2].weight.fill_(1e-30)
        model[4].weight.fill_(1e25)  # 1e45 in all but for the second layer, and float32 ends at 3e38
        for each in (model[0], model[2], model[4]):
            each.bias.zero_()
    first = shapprune.score(LayerGame(model, "0", POINTS, labels(4, 2)), "synflow").values
    other = shapprune.score(LayerGame(model, "0", POINTS[:2] + 5, labels(2, 2)), "synflow").values
    assert torch.equal(first, other)
    # tanh(6e-10) is 6e-10: 2 weights of 1e20 into the unit, 3 units of 1e-30 behind it, 2 outputs of 1e25
    np.testing.assert_allclose(first, [[2e20 * 3e-30 * 2e25] * 3], rtol=1e-6)
    with torch.no_grad():
        model[2].weight.fill_(1e-12)
        model[3] = nn.ReLU()
        model[4].weight.fill_(1e35)
    big = shapprune.score(LayerGame(model, "0", POINTS * 0, labels(4, 2)), "synflow").values
    np.testing.assert_allclose(big, [[2e20 * 3e-12 * 2e35] * 3], rtol=1e-6)


@pytest.mark.parametrize("name", ["snip", "grasp", "fisher", "hrank"])
def test_the_size_of_batches_changes_nothing(name):
    whole, single = (shapprune.score(game(memory_mb=memory), name).values for memory in (512, 0))
    # Rounding of float32 sums alone; of GraSP it is that of a small difference of large numbers.
    np.testing.assert_allclose(single, whole, rtol=1e-3, atol=1e-5 * float(whole.abs().max()))


def test_a_weight_that_serves_twice_or_never():
    model = randomise(ConvNetwork(hidden=8))
    model.spare = nn.Linear(3, 3)  # no image goes through it
    model.again = nn.Linear(8, 3)
    model.again.weight = model.output.weight
    model.forward = lambda x: ConvNetwork.forward(model, x)
    expected = shapprune.score(game("fc"), "grasp").values
    for name in ("snip", "grasp", "synflow"):
        shapprune.score(LayerGame(model, "fc", images(7), labels(7)), name)
    found = shapprune.score(LayerGame(model, "fc", images(7), labels(7)), "grasp").values
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "behind", [(nn.BatchNorm2d(2, affine=False), nn.ReLU()), (nn.ReLU(), nn.BatchNorm2d(2))], ids=["no scales", "late"]
)
def test_a_batchnorm_that_does_not_scale_the_layer_is_refused(behind):
    model = chain(filters([1.0, 2.0]), *behind)
    with pytest.raises(ShapPruneError, match="BatchNorm with scales behind the layer, but none follows '0'"):
        shapprune.score(LayerGame(model, "0", images(2), labels(2, 2)), "batchnorm-scale")
