"""Layers of every kind that are made as small as their stored tensors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import load, remove_units, save
from shapprune.core.errors import ShapPruneError
from shapprune.pruning.removal import mask_units
from tests.toys import images, randomise


class Renamed(nn.BatchNorm2d):
    """A BatchNorm that keeps something for itself."""

    def __init__(self, channels):
        super().__init__(channels)
        self.register_buffer("seen", torch.zeros(3), persistent=False)


class Turned(nn.Conv2d):
    """A convolution of a second version: files of the first have their weights turned."""

    _version = 2

    def _load_from_state_dict(self, state, prefix, metadata, *rest):
        if metadata.get("version", 1) < 2:
            state[f"{prefix}weight"] = state[f"{prefix}weight"].flip(2)
        super()._load_from_state_dict(state, prefix, metadata, *rest)


BETWEEN = {
    "PReLU of channels": lambda: nn.PReLU(6),
    "PReLU": lambda: nn.PReLU(),
    "SyncBatchNorm": lambda: nn.SyncBatchNorm(6),
    "BatchNorm without weights": lambda: nn.BatchNorm2d(6, affine=False),
    "BatchNorm without statistics": lambda: nn.BatchNorm2d(6, track_running_stats=False),
    "subclass": lambda: Renamed(6),
    "depthwise": lambda: nn.Conv2d(6, 6, 3, groups=6),
    "version": lambda: nn.Sequential(nn.ReLU(), Turned(6, 6, 3)),
}


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
@pytest.mark.parametrize("count", [1, 2])
def test_what_lost_units_is_saved_and_loaded(between, count, tmp_path):
    def build():
        parts = [nn.Conv2d(1, 6, 3), between(), nn.Conv2d(6, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*parts, nn.Linear(4, 3))

    x = images(3)
    model = randomise(build()).eval()
    small = remove_units(model, {"0": [1, 4][:count]}, x)
    save(small, tmp_path / "small.safetensors")
    back = load(tmp_path / "small.safetensors", build)
    assert repr(back) == repr(small)
    with torch.no_grad():
        assert torch.equal(back(x), small(x))
        torch.testing.assert_close(back(x), mask_units(model, {"0": [1, 4][:count]}, x), atol=1e-5, rtol=1e-5)
    back.train()(x)  # also what only training reads has the right size


class Stateful(nn.Linear):
    def get_extra_state(self):
        return {"steps": 3}

    def set_extra_state(self, state):
        pass


def test_a_state_that_is_no_tensor_is_said(tmp_path):
    with pytest.raises(ShapPruneError, match=r"Stateful cannot be saved: '_extra_state' of its state_dict.* a dict"):
        save(Stateful(3, 2), tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())
