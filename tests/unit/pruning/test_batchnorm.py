"""Running statistics of BatchNorms, estimated again."""

from __future__ import annotations

import torch
from torch import nn

from tests.unit.pruning.repaired import at, network, removed_and_repaired


def test_statistics_are_those_of_the_images():
    model, x, units = network("conv", 7)
    units = {"features.0": units["features.0"]}
    plain, small = (removed_and_repaired(model, units, x, how) for how in ("none", "batchnorm"))
    seen = at(plain, "features.5", x, outputs=False)
    torch.testing.assert_close(small.features[5].running_mean, seen.mean((0, 2, 3)))
    torch.testing.assert_close(small.features[5].running_var, seen.var((0, 2, 3)))


def test_a_later_norm_sees_the_new_statistics_of_an_earlier_one():
    model, x, _ = network("deep")
    small = removed_and_repaired(model, {"conv0": [1, 2]}, x, "batchnorm")
    for name in ("norm1", "norm2"):
        seen, norm = at(small, name, x, outputs=False), small.get_submodule(name)
        torch.testing.assert_close(norm.running_mean, seen.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(norm.running_var, seen.var((0, 2, 3)), atol=1e-5, rtol=1e-4)
    # that of the pruned layer sees what it saw
    kept = [0, 3, 4]
    assert torch.equal(small.norm0.running_mean, model.norm0.running_mean[kept])
    assert torch.equal(small.norm0.running_var, model.norm0.running_var[kept])


def test_a_norm_without_statistics_is_left():
    model, x, units = network("conv")
    model.features[5] = nn.BatchNorm2d(6, track_running_stats=False)
    assert removed_and_repaired(model, {"features.0": [1]}, x, "batchnorm").features[5].running_mean is None
    removed_and_repaired(model, units, x, "least-squares")
