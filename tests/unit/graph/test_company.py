"""What follows the number of images, and networks in which images have a say in each other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shapprune import LayerGame, ShapPruneError, prunable_layers, prune, remove_units, score
from shapprune.graph.company import Company
from shapprune.graph.cut import PerImage
from shapprune.graph.tracing import trace
from shapprune.pruning.removal import mask_units
from tests.toys import images, labels


class Net(nn.Module):
    """Two convolutions and a linear output; subclasses read sizes before the first and use them at the end."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.out = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6 * 16, 3)

    def maps(self, x):
        return torch.relu(self.two(torch.relu(self.one(x))))


class FromSize(Net):
    def forward(self, x):
        count = x.size(0)
        return self.out(self.maps(x).view(count, -1))


class FromShape(Net):
    def forward(self, x):
        count, _, height, width = x.shape
        x = self.maps(x)
        return self.out(x.reshape(count, 6 * (height - 4) * (width - 4)))


class FromProduct(Net):
    """Rows are positions of images for a while."""

    def forward(self, x):
        rows = x.shape[0] * 16
        x = self.maps(x).permute(0, 2, 3, 1).reshape(rows, 6)
        return self.out((x * 2).reshape(rows // 16, 96))


class FromWhole(Net):
    """A whole size crosses the cut, and a part of one."""

    def forward(self, x):
        shape = x.shape
        x = self.maps(x).flatten(1)[:, :64].reshape(shape) + torch.zeros(shape[:2] + (8, 8))  # noqa: RUF005
        return self.out(F.pad(x.flatten(1), (0, 32)))


class FromNothing(Net):
    """Numbers that say where positions are, made of a size that is that of a map, beside the images."""

    def forward(self, x):
        places = torch.linspace(-1, 1, x.size(3) - 4)
        return self.out((self.maps(x) + places).flatten(1))


class Squeeze(nn.Module):
    """Squeeze-and-excitation as it is usually written."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.out = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 3)
        self.down, self.up = nn.Linear(6, 4), nn.Linear(4, 6)

    def forward(self, x):
        x = torch.relu(self.one(x))
        count, channels, _, _ = x.size()
        gate = F.adaptive_avg_pool2d(x, 1).view(count, channels)
        gate = torch.sigmoid(self.up(torch.relu(self.down(gate)))).view(count, channels, 1, 1)
        return self.out(torch.relu(self.two(x * gate)).mean((2, 3)))


SIZES = {
    FromSize: ("one", "two"),
    FromShape: ("one", "two"),
    FromProduct: ("one",),
    FromWhole: ("one",),
    FromNothing: ("one", "two"),
    Squeeze: ("one", "down", "two"),
}


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("network", SIZES)
def test_sizes_that_are_read_before_the_cut(network, count):
    torch.manual_seed(0)
    model, x = network().eval(), images(count)
    for layer in SIZES[network]:
        gone = [0, 3]
        for memory in (0, 512):
            game = LayerGame(model, layer, x, labels(count), memory_mb=memory)
            kept = torch.ones(5, game.units, dtype=torch.bool)
            kept[1:3, gone] = False
            expected = -F.cross_entropy(mask_units(model, {layer: gone}, x), labels(count), reduction="none")
            torch.testing.assert_close(game.value(kept)[1], expected, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(game.value(kept[1:2])[0], expected, atol=1e-5, rtol=1e-5)


def test_listed_layers_lose_units_with_the_sizes_of_what_is_left():
    model, x = Squeeze().eval(), images(3)
    assert [each.name for each in prunable_layers(model, x)] == ["down", "two"]
    small = remove_units(model, {"down": [1], "two": [0, 5]}, x)
    torch.testing.assert_close(small(x), mask_units(model, {"down": [1], "two": [0, 5]}, x), atol=1e-5, rtol=1e-5)
    assert prune(FromSize().eval(), images(12), macs=0.6, steps=0).kept


def test_numbers_that_count_images_are_told_from_those_that_are_as_large():
    class Two(nn.Module):
        def forward(self, x):
            return x.reshape(x.shape[0], x.shape[1] * x.shape[0] // x.shape[0]) * x.shape[1]

    traced = trace(Two())
    sizes = {node.name: value for node, value in Company(traced, torch.rand(2, 2)).sizes.items()}
    assert sizes["getitem"] == PerImage(1)  # of the 2 images
    assert "getitem_1" not in sizes  # of the 2 features


class Mixed(Net):
    """Images have a say in each other, by some function."""

    def __init__(self, mix, early=False):
        super().__init__()
        self.mix, self.early = mix, early

    def forward(self, x):
        x = torch.relu(self.one(x))
        x = torch.relu(self.two(self.mix(x) if self.early else x))
        return self.out((x if self.early else self.mix(x)).flatten(1))


MIXES = {
    "batchnorm": nn.BatchNorm2d(6, track_running_stats=False),
    "instance statistics of all": lambda x: F.batch_norm(x, None, None, training=True),
    "mean": lambda x: x - x.mean(0),
    "softmax": lambda x: torch.softmax(x, 0),
    "largest": lambda x: x / x.amax(),
    "norm": lambda x: x / x.norm(),
    "neighbour": lambda x: x + x.roll(1, 0),
    "sorted": lambda x: x.sort(0).values,
}


@pytest.mark.parametrize("early", [False, True], ids=["late", "early"])
@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
def test_images_that_have_a_say_in_each_other_are_refused(mix, early):
    torch.manual_seed(0)
    model = Mixed(mix, early).eval()
    for count in (1, 6):
        for layer in ("one", "two"):
            with pytest.raises(ShapPruneError, match="for an image depends on the others in its batch"):
                LayerGame(model, layer, images(count), labels(count))


@pytest.mark.parametrize(
    "norm", [nn.InstanceNorm2d(6), nn.GroupNorm(2, 6), nn.LayerNorm([6, 4, 4]), nn.BatchNorm2d(6), nn.Softmax(1)]
)
def test_norms_of_each_image_by_itself_are_no_company(norm):
    model = Mixed(norm).eval()
    game = LayerGame(model, "one", images(5), labels(5), memory_mb=1)
    wide = LayerGame(model, "one", images(5), labels(5))
    one, other = (score(each, "permutation", permutations=2, seed=0).values for each in (game, wide))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


class Squeezed(Net):
    """Takes all axes of length 1 away: of one image its own too."""

    def __init__(self, squeeze):
        super().__init__()
        self.squeeze = squeeze

    def forward(self, x):
        return self.out(self.squeeze(self.maps(x).flatten(1)[..., None, None]))


@pytest.mark.parametrize(
    "squeeze", [torch.squeeze, torch.Tensor.squeeze, lambda x: x.squeeze(), torch.ops.aten.squeeze.default]
)
def test_squeeze_takes_the_same_axes_away_whatever_the_memory_and_the_number_of_images(squeeze):
    torch.manual_seed(0)
    model, x, y, coalitions = Squeezed(squeeze).eval(), images(5), labels(5), torch.rand(3, 6) < 0.5
    expected = LayerGame(model, "one", x, y).value(coalitions)
    for memory, count in ((0, 5), (0, 1), (512, 1)):
        game = LayerGame(model, "one", x[:count], y[:count], memory_mb=memory)
        torch.testing.assert_close(game.value(coalitions), expected[:, :count])
        assert score(game, "permutation", permutations=1).values.shape == (count, 6)
    small, few = prune(model, x, ratio=0.5, steps=0).model, remove_units(model, {"one": [0]}, x)
    assert small(x).shape == few(x).shape == (5, 3)


def test_a_network_that_fails_on_an_image_alone_is_refused_at_once():
    norm = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.GroupNorm(6, 6), nn.Upsample((4, 4)))
    for count in (1, 5):
        with pytest.raises(ShapPruneError, match=r"fails on images of shape \(1, 1, 8, 8\): Expected more than 1 "):
            LayerGame(Mixed(norm).eval(), "one", images(count), labels(count))


def test_what_is_not_of_the_company_is_said_as_it_is():
    model, x = Mixed(lambda x: F.dropout(x, 0.5)).eval(), images(3)
    with pytest.raises(ShapPruneError, match=r"other numbers each time in eval mode; F\.dropout needs"):
        LayerGame(model, "one", x, labels(3))
    with pytest.raises(ShapPruneError, match="puts out nan"):
        LayerGame(Mixed(lambda x: x * torch.nan), "one", x, labels(3))
    x[2, 0, 3, 3] = torch.nan
    with pytest.raises(ShapPruneError, match="scoring image 2 has numbers that are not finite"):
        LayerGame(FromSize(), "one", x, labels(3))


class Turned(Net):
    """Images are the second axis of a value that crosses the cut."""

    def forward(self, x):
        turned = x.flatten(2).permute(2, 0, 1)
        x = self.maps(x).flatten(1)[:, :64]
        return self.out(F.pad((turned + x.t()[..., None]).permute(1, 2, 0).flatten(1), (0, 32)))


def test_values_whose_first_axis_is_not_images_cannot_cross():
    with pytest.raises(ShapPruneError, match=r"cannot be cut here: .* crosses the cut, and images are not its first"):
        LayerGame(Turned(), "one", images(3), labels(3))


def test_several_outputs_and_a_payoff_that_says_which_it_takes():
    class Heads(Net):
        def forward(self, x):
            x = self.maps(x).flatten(1)
            return {"classes": self.out(x), "rest": [x.mean(1)]}

    model, x = Heads().eval(), images(5)

    def payoff(outputs, classes):
        return outputs["classes"].gather(1, classes[:, None])[:, 0]

    game = LayerGame(model, "one", x, labels(5), payoff=payoff)
    kept = torch.tensor([[False, True, True, True, True, True]] * 5)
    for rows in (kept[:1], kept):
        expected = payoff(mask_units(model, {"one": [0]}, x), labels(5))
        torch.testing.assert_close(game.value(rows)[0], expected, atol=1e-5, rtol=1e-5)
    assert score(game, "taylor").values.shape == (5, 6)
    with pytest.raises(ShapPruneError, match="returns a dict; give a payoff that says which it takes"):
        LayerGame(model, "one", x, labels(5))
