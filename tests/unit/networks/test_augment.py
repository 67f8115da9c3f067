"""Augmentation: each operation against what it must do to known images."""

from __future__ import annotations

import pytest
import torch

from shapprune.networks.augment import AUGMENTATIONS, PADDING, augment, darkest, mix, paste
from shapprune.networks.recipe import recipe_options

BLACK = torch.tensor([-1.0, -2.0]).view(1, 2, 1, 1)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(200, 2, 7, 5, generator=torch.Generator().manual_seed(0))


def run(images: torch.Tensor, *names: str, seed: int = 0) -> torch.Tensor:
    return augment(images, names, BLACK, torch.Generator().manual_seed(seed))


def test_names_are_those_of_recipes():
    assert tuple(AUGMENTATIONS) == recipe_options()["augment"].each.choices


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_batch_keeps_its_shape_and_follows_the_generator(name, images):
    before = images.clone()
    once = run(images, name)
    assert once.shape == images.shape
    assert once.stride() == images.stride()
    assert torch.equal(once, run(images, name))
    assert not torch.equal(once, run(images, name, seed=1))
    assert torch.equal(images, before)


def test_no_names_change_nothing(images):
    assert run(images) is images


@pytest.mark.parametrize(("name", "side"), [("flip", 3), ("vflip", 2)])
def test_half_of_the_images_are_mirrored(name, side, images):
    changed = run(images, name)
    mirrored = (changed == images.flip(side)).flatten(1).all(1)
    same = (changed == images).flatten(1).all(1)
    assert torch.equal(mirrored, ~same)
    assert 70 < int(mirrored.sum()) < 130  # four standard deviations around 100


def test_a_crop_is_a_shift_with_black(images):
    # Each pixel holds its own place, so a pixel that is left says how far the image was shifted.
    place = torch.arange(1.0, 36).view(1, 1, 7, 5).expand(200, 2, 7, 5)
    shifts = set()
    for image in run(place, "crop"):
        filled = image[0] != -1
        assert torch.equal(filled, image[1] != -2)
        row, column = (int(each[0]) for each in torch.nonzero(filled, as_tuple=True))
        number = int(image[0, row, column]) - 1
        down, right = row - number // 5, column - number % 5
        shifts.add((down, right))
        expected = torch.full((7, 5), -1.0)
        expected[max(down, 0) : 7 + min(down, 0), max(right, 0) : 5 + min(right, 0)] = place[
            0, 0, max(-down, 0) : 7 - max(down, 0), max(-right, 0) : 5 - max(right, 0)
        ]
        assert torch.equal(image[0], expected)
    assert {shift for shift, _ in shifts} == set(range(-PADDING, PADDING + 1))


def test_a_rotation_keeps_the_centre_and_brings_black_into_the_corners():
    disc = torch.full((50, 2, 21, 31), 3.0)
    turned = run(disc, "rotate")
    assert torch.allclose(turned[:, :, 10, 15], torch.tensor(3.0))
    assert (turned[:, 0, 0, 0] < 3).any()
    assert turned.min() >= -2.0001  # rounding of the interpolation
    assert turned.max() <= 3.0001


def test_a_rotation_turns_oblong_images_without_stretching_them(monkeypatch):
    monkeypatch.setattr("shapprune.networks.augment.DEGREES", 90.0)
    image = torch.zeros(1, 1, 21, 41)
    image[0, 0, 10, 28] = 1.0  # eight pixels right of the centre
    for seed in range(20):
        turned = augment(image, ["rotate"], torch.zeros(1, 1, 1, 1), torch.Generator().manual_seed(seed))[0, 0]
        rows, columns = torch.meshgrid(torch.arange(21) - 10.0, torch.arange(41) - 20.0, indexing="ij")
        total = turned.sum()
        distance = torch.hypot((turned * rows).sum() / total, (turned * columns).sum() / total)
        assert float(distance) == pytest.approx(8, abs=0.5)  # half a pixel: the interpolation's own error


def test_mixing_gives_another_image_at_most_half(images):
    tags = torch.eye(200).view(200, 200, 1)
    mixed = mix(tags, torch.Generator().manual_seed(0)).squeeze(2)
    torch.testing.assert_close(mixed.sum(1), torch.ones(200))
    assert mixed.diagonal().min() >= 0.5
    assert ((mixed > 0).sum(1) <= 2).all()
    assert ((mixed > 0).sum(1) == 2).sum() > 190
    assert torch.equal(mix(images, torch.Generator().manual_seed(1)), mix(images, torch.Generator().manual_seed(1)))


def test_pasting_puts_a_rectangle_of_one_other_image_into_each():
    tags = torch.arange(300.0).view(-1, 1, 1, 1).expand(300, 2, 8, 12)
    pasted = paste(tags, torch.Generator().manual_seed(0))
    shares, corners = [], set()
    for number, image in enumerate(pasted):
        foreign = image[0] != number
        assert torch.equal(foreign, image[1] != number)
        rows, columns = foreign.any(1), foreign.any(0)
        assert torch.equal(foreign, rows[:, None] & columns)
        assert all(
            len(each.nonzero()) == int(each.nonzero().diff(dim=0).sum()) + 1 for each in (rows, columns) if each.any()
        )
        assert len(image.unique()) == 1 + bool(foreign.any())
        shares.append(float(foreign.float().mean()))
        corners |= {(int(row), int(column)) for row, column in foreign.nonzero()[:1]}
    assert 0.3 < max(shares) <= 0.5
    assert sum(share > 0 for share in shares) > 250
    assert len(corners) > 20
    assert torch.equal(pasted, paste(tags, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (4, 3, 5, 6)])
def test_darkest_values_are_those_of_channels(shape):
    values = torch.rand(shape)
    found = darkest(values)
    assert found.shape == (1, 3, *[1] * (len(shape) - 2))
    torch.testing.assert_close(found.flatten(), values.transpose(0, 1).flatten(1).amin(1))
