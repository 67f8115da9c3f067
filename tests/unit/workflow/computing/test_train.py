"""Networks as the workflow trains them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from shapprune.core.errors import ShapPruneError
from shapprune.data.prepared import DataInfo, ImageSet
from shapprune.workflow.computing import train
from shapprune.workflow.computing.train import keep_network
from shapprune.workflow.store.keys import Task
from shapprune.workflow.store.work import Work


def build() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))


@pytest.fixture
def keep(tmp_path):
    """Keep a network of one's own with the layers that a configuration lists, trained or with weights."""

    def run(layers, start):
        network = {"architecture": f"{__name__}:build", "options": {}, "layers": layers, "data": "some", **start}
        described = Task("train_network", {"validation": 4, "seed": 0}).describe()
        names = {"network": network, "net": "own"}
        task = described | {"names": names, "stem": str(tmp_path / "model"), "consumes": {}}
        pixels = np.random.default_rng(0).integers(0, 256, (20, 1, 2, 2), dtype=np.uint8)
        info = DataInfo("some", (1, 2, 2), 2, 12, 8, (0.3,), (0.3,))
        image_set = ImageSet(info, pixels[:12], np.arange(12) % 2, pixels[12:], np.arange(8) % 2)
        keep_network(image_set, Work(tmp_path / "store", {"model": task}), "cpu")

    return run


@pytest.mark.parametrize("how", ["train", "weights"])
@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"1": 6, "33": 5}, "unknown layer '33'; did you mean '3'"),
        ({"1": 6, "2": 6}, "unknown layer '2'"),
        ({"1": 5}, r"layer '1' of \S*:build has 6 units, but 'layers' says 5"),
        ({"1": 6, "3": 5}, None),
    ],
)
def test_listed_layers_are_looked_up_before_anything_long(how, layers, message, keep, tmp_path, monkeypatch):
    torch.save(build().state_dict(), tmp_path / "net.pth")
    start = {"train": {"epochs": 1}} if how == "train" else {"weights": str(tmp_path / "net.pth")}
    if message is None:
        keep(layers, start)
        assert (tmp_path / "model.safetensors").is_file()
        return
    for name in ("fit", "load_weights"):
        monkeypatch.setattr(train, name, lambda *_, **__: pytest.fail("it began"))
    with pytest.raises(ShapPruneError, match=message):
        keep(layers, start)
    assert not (tmp_path / "model.safetensors").exists()
