"""Latency of networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError, measure_latency
from shapprune.networks.latency import measure_latencies
from tests.toys import ConvNetwork, images, randomise


class Watched(nn.Module):
    """Notes what it is run with."""

    def __init__(self):
        super().__init__()
        self.inner = randomise(ConvNetwork())
        self.seen = []

    def forward(self, x):
        self.seen.append((len(x), self.training, torch.get_num_threads(), torch.is_inference_mode_enabled()))
        return self.inner(x)


def test_what_is_measured():
    model, threads = Watched().train(), torch.get_num_threads()
    model.inner.drop.eval()
    found = measure_latency(model, images(2), batch=5, threads=threads + 1, repeats=4)
    assert set(model.seen) == {(5, False, threads + 1, True)}
    assert len(model.seen) == 4 + 5  # with those that warm up
    assert (found.batch, found.threads, found.repeats) == (5, threads + 1, 4)
    assert 0 < found.quartiles_ms[0] <= found.median_ms <= found.quartiles_ms[1]
    assert found.device
    assert torch.get_num_threads() == threads
    assert (model.training, model.inner.training, model.inner.drop.training) == (True, True, False)


def test_one_pass():
    found = measure_latency(randomise(ConvNetwork()), images(3), repeats=1)
    assert found.quartiles_ms == (found.median_ms, found.median_ms)
    assert (found.batch, found.threads) == (1, torch.get_num_threads())


def test_all_is_handed_back_after_an_error():
    model, threads = randomise(ConvNetwork()).train(), torch.get_num_threads()
    with pytest.raises(RuntimeError):
        measure_latency(model, images(2, (2, 8, 8)), threads=threads + 1)
    assert torch.get_num_threads() == threads
    assert model.training


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"threads": 0}, {"repeats": -1}])
def test_numbers_below_one(wrong):
    (name,) = wrong
    with pytest.raises(ShapPruneError, match=f"with 1 or more {name}, not {wrong[name]}"):
        measure_latency(ConvNetwork(), images(2), **wrong)
    with pytest.raises(ShapPruneError, match="1 or more images, not 0"):
        measure_latency(ConvNetwork(), images(2)[:0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda():
    found = measure_latency(randomise(ConvNetwork()).cuda(), images(2), repeats=3)
    assert found.device == torch.cuda.get_device_name()
    assert found.median_ms > 0


def test_several_networks_take_turns():
    one, other = Watched(), Watched()
    one.seen = other.seen = seen = []
    one.inner.register_forward_pre_hook(lambda *_: seen.append("one"))
    other.inner.register_forward_pre_hook(lambda *_: seen.append("other"))
    found = measure_latencies([one, other], images(1), repeats=3)
    assert [each.repeats for each in found] == [3, 3]
    assert [each for each in seen if isinstance(each, str)] == ["one", "other"] * (3 + 5)
