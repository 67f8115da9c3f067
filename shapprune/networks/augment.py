"""Random changes of training images, for a whole batch at a time, on any device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4  # pixels around an image before `crop` cuts its size out again
DEGREES = 10.0  # the most that `rotate` turns an image


def augment(images: Tensor, names: Sequence[str], black: Tensor, generator: torch.Generator) -> Tensor:
    """Change each image of a batch at random.

    Args:
        images: float [N, C, H, W].
        names: of `AUGMENTATIONS`, applied in this order.
        black: [1, C, 1, 1], the value of pixels beyond the border of an image.
        generator: on the device of the images.
    """
    for name in names:
        images = AUGMENTATIONS[name](images, black, generator)
    return images


def mix(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mix each image of a batch, [N, ...], with another one, which has a share of up to a half.

    Source: Zhang et al. 2018 (https://arxiv.org/abs/1710.09412), for images alone.
    """
    shares, others = _partners(images, generator)
    return images.lerp(others, shares.view(-1, *[1] * (images.dim() - 1)))


def paste(images: Tensor, generator: torch.Generator) -> Tensor:
    """Put a rectangle of another image into each image of a batch, [N, C, H, W]; it takes a share of up to a half.

    Source: Yun et al. 2019 (https://arxiv.org/abs/1905.04899), for images alone.
    """
    shares, others = _partners(images, generator)
    inside = [_span(side, shares.sqrt(), generator) for side in images.shape[2:]]
    return torch.where(inside[0][:, None, :, None] & inside[1][:, None, None, :], others, images)


def darkest(images: Tensor) -> Tensor:
    """The least value of each channel of some images, [N, C, ...] -> [1, C, 1, ...]."""
    return images.amin([0, *range(2, images.dim())], keepdim=True)


def flip(images: Tensor, black: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images left to right."""
    return torch.where(_coin(images, generator), images.flip(3), images)


def vflip(images: Tensor, black: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images upside down."""
    return torch.where(_coin(images, generator), images.flip(2), images)


def crop(images: Tensor, black: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to `PADDING` pixels in each direction; the border is filled with black."""
    return _shift(images, black, generator, PADDING)


def shift(images: Tensor, black: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to an eighth of its shorter side in each direction; the border is filled with black."""
    return _shift(images, black, generator, max(1, min(images.shape[2:]) // 8))


def rotate(images: Tensor, black: Tensor, generator: torch.Generator) -> Tensor:
    """Turn each image by up to `DEGREES` in either direction, with bilinear interpolation; the border is black."""
    count, _, height, width = images.shape
    share = torch.rand(count, generator=generator, device=images.device, dtype=images.dtype)
    angle = (2 * share - 1) * math.radians(DEGREES)
    cos, sin = angle.cos(), angle.sin()
    # The grid runs from -1 to 1 along both sides, whatever their lengths.
    rows = [cos, -sin * height / width, 0 * cos], [sin * width / height, cos, 0 * cos]
    turn = torch.stack([torch.stack(row, 1) for row in rows], 1)
    grid = F.affine_grid(turn, list(images.shape), align_corners=False)
    return F.grid_sample(images - black, grid, align_corners=False) + black


AUGMENTATIONS = {"flip": flip, "vflip": vflip, "crop": crop, "shift": shift, "rotate": rotate}


def _shift(images: Tensor, black: Tensor, generator: torch.Generator, most: int) -> Tensor:
    """Shift each image by up to so many pixels in each direction."""
    count, _, height, width = images.shape
    padded = F.pad(images - black, [most] * 4) + black
    down, right = torch.randint(2 * most + 1, (2, count, 1), generator=generator, device=images.device)
    rows = (down + torch.arange(height, device=images.device))[:, :, None]
    columns = (right + torch.arange(width, device=images.device))[:, None, :]
    each = torch.arange(count, device=images.device)[:, None, None]
    shifted = padded.permute(0, 2, 3, 1)[each, rows, columns].permute(0, 3, 1, 2)
    # Here channels are last. Networks that flatten by `view` need memory to follow the shape, also of one channel.
    return shifted.clone(memory_format=torch.contiguous_format)


def _partners(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Another image for each image of a batch, [N, ...], and the share that it gets, up to a half, [N]."""
    shares = torch.rand(len(images), generator=generator, device=images.device, dtype=images.dtype) / 2
    return shares, images[torch.randperm(len(images), generator=generator, device=images.device)]


def _span(side: int, shares: Tensor, generator: torch.Generator) -> Tensor:
    """True along a random stretch of each image's side, which takes a share of it: bool [N, side]."""
    lengths = (shares * side).floor()
    starts = torch.rand(len(shares), generator=generator, device=shares.device, dtype=shares.dtype)
    starts = (starts * (side - lengths + 1)).floor()[:, None]
    places = torch.arange(side, device=shares.device)
    return (places >= starts) & (places < starts + lengths[:, None])


def _coin(images: Tensor, generator: torch.Generator) -> Tensor:
    """True for half of the images, [N, 1, 1, 1]."""
    return torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
