"""Networks as files: round trips, also of smaller networks, and what is refused."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading

import pytest
import torch
from torch import nn

from shapprune.core.errors import ShapPruneError
from shapprune.networks.builders import build
from shapprune.networks.storage import fetch_weights, load, save

lenet5 = functools.partial(build, "lenet5")


def same_outputs(one: nn.Module, other: nn.Module, shape: tuple[int, ...] = (1, 28, 28)) -> bool:
    images = torch.rand(3, *shape)
    with torch.no_grad():
        return torch.equal(one.eval()(images), other.eval()(images))


@pytest.fixture
def stored(tmp_path):
    model = lenet5(widths=[3, 4, 6, 5])
    path = tmp_path / "net.safetensors"
    save(model, path)
    return path


def test_others_may_read_it_where_they_may_read_the_manifest(stored):
    assert stored.stat().st_mode == stored.with_suffix(".json").stat().st_mode


def test_a_network_comes_back_with_its_facts(tmp_path):
    model = lenet5()
    path = tmp_path / "new" / "net.safetensors"
    save(model, path, seed=3, accuracy=0.5)
    back = load(path, lenet5)
    assert same_outputs(model, back)
    assert not back.training
    assert back.kept_units == {}
    manifest = json.loads((tmp_path / "new" / "net.json").read_text())
    assert (manifest["seed"], manifest["accuracy"]) == (3, 0.5)
    assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest["tensors"]["conv2.weight"] == [20, 10, 5, 5]
    assert sorted(each.name for each in path.parent.iterdir()) == ["net.json", "net.safetensors"]
    with pytest.raises(ValueError, match="must not be named kept"):
        save(model, path, kept=1)


def test_each_network_has_a_manifest_of_its_own(tmp_path):
    for name, seed in (("small-0.5", 1), ("small-0.25", 2), ("small.v1.safetensors", 3), ("small", 4)):
        save(lenet5(widths=[3, 4, 6, 5]), tmp_path / name, seed=seed)
    seeds = {path.name: json.loads(path.read_text())["seed"] for path in tmp_path.glob("*.json")}
    assert seeds == {"small-0.5.json": 1, "small-0.25.json": 2, "small.v1.json": 3, "small.json": 4}
    assert load(tmp_path / "small-0.5", lenet5).conv1.out_channels == 3
    for taken in ("small.safetensors", "small.v1"):
        with pytest.raises(
            ShapPruneError, match=f"{taken} and .* would share the manifest .*json; choose another name"
        ):
            save(lenet5(), tmp_path / taken)
        assert not (tmp_path / taken).exists()


def test_facts_that_are_not_finite_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ShapPruneError, match=r"net\.json: after\.loss is nan, not a finite number"):
        save(lenet5(), tmp_path / "net.safetensors", after={"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_network_with_fewer_units_fits_the_original(stored):
    model = lenet5(widths=[3, 4, 6, 5])
    model.kept_units = {"conv1": torch.tensor([0, 4, 9])}
    save(model, stored)
    back = load(stored, lenet5)
    assert same_outputs(model, back)
    assert back.kept_units == {"conv1": [0, 4, 9]}
    assert (back.conv1.in_channels, back.conv1.out_channels) == (1, 3)
    assert (back.conv2.in_channels, back.conv2.out_channels) == (3, 4)
    assert (back.fc1.in_features, back.fc1.out_features) == (64, 6)
    assert repr(back) == repr(model.eval())


def test_inner_convolutions_of_a_residual_network_may_be_smaller(tmp_path):
    model = build("resnet20", (3, 32, 32))
    block, kept = model.layer2[0], torch.arange(0, 32, 3)
    first, second = block.conv1.weight[kept], block.conv2.weight[:, kept]
    block.conv1 = nn.Conv2d(16, len(kept), 3, 2, padding=1, bias=False)
    block.bn1 = nn.BatchNorm2d(len(kept))
    block.conv2 = nn.Conv2d(len(kept), 32, 3, padding=1, bias=False)
    block.conv1.weight.data, block.conv2.weight.data = first.detach(), second.detach()
    path = tmp_path / "net.safetensors"
    save(model, path)
    back = load(path, functools.partial(build, "resnet20", (3, 32, 32)))
    assert same_outputs(model, back, (3, 32, 32))
    assert back.layer2[0].bn1.num_features == len(kept)


def grouped(width: int, groups: int) -> nn.Module:
    """A convolution, a depthwise one with two filters a channel, one in groups, and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, bias=False),
        nn.BatchNorm2d(width),
        nn.Conv2d(width, 2 * width, 3, groups=width),
        nn.Conv2d(2 * width, width, 1, groups=groups),
        nn.Flatten(),
        nn.Linear(width * 16, 2),
    )


def test_groups_of_convolutions_follow(tmp_path):
    model = grouped(4, 2)
    path = tmp_path / "net.safetensors"
    save(model, path)
    back = load(path, lambda: grouped(6, 2))
    assert (back[2].groups, back[2].in_channels, back[2].out_channels) == (4, 4, 8)
    assert (back[3].groups, back[3].in_channels, back[3].out_channels) == (2, 8, 4)
    assert same_outputs(model, back, (1, 8, 8))


def test_frozen_parameters_stay_frozen(stored):
    def frozen() -> nn.Module:
        model = lenet5()
        model.conv1.weight.requires_grad_(False)
        return model

    back = load(stored, frozen)
    assert not back.conv1.weight.requires_grad
    assert back.conv2.weight.requires_grad


def test_tied_and_strided_tensors_are_stored(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    model[0].bias = nn.Parameter(torch.rand(8)[::2])
    path = tmp_path / "net.safetensors"
    save(model, path)
    assert same_outputs(model, load(path, lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))), (4,))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: lenet5(widths=[2, 4, 6, 5]), r"conv1\.weight is \[3, 1, 5, 5\] in the file, but \[2, 1, 5, 5\]"),
        (lambda: build("mlp"), r"the network has no tensor conv1\.bias"),
        (lambda: nn.Sequential(), r"the network has no tensor conv1\.bias"),
        (lambda: nn.Sequential(nn.Conv2d(1, 10, 3)), r"it has no tensor 0\.weight"),
    ],
)
def test_another_architecture_is_refused_by_its_first_tensor(stored, other, message):
    with pytest.raises(ShapPruneError, match=f"{stored} is of another architecture: .*({message})"):
        load(stored, other)


def test_damage_is_refused(stored):
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    with pytest.raises(ShapPruneError, match=f"{stored} was changed or damaged after it was saved: its SHA-256 is"):
        load(stored, lenet5)
    beside = stored.with_suffix(".json")
    for content in ("{", '{"classes": 3}', '["cat", "dog"]'):
        beside.write_text(content)
        with pytest.raises(ShapPruneError, match=rf"{beside} is no manifest of shapprune\.save, or is damaged"):
            load(stored, lenet5)
    for missing in (beside, stored):
        missing.unlink()
        with pytest.raises(ShapPruneError, match=f"there is no file {missing}; shapprune.save writes"):
            load(stored, lenet5)


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    ) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()


def test_a_download_is_kept_only_with_its_checksum(server, tmp_path):
    url, served = server
    (served / "a.pth").write_bytes(b"weights")
    good = hashlib.sha256(b"weights").hexdigest()
    kept = tmp_path / "kept"
    with pytest.raises(ShapPruneError, match=f"a.pth was refused: its SHA-256 is {good}, not 00"):
        fetch_weights(f"{url}/a.pth", "00", kept)
    assert list(kept.iterdir()) == []
    assert fetch_weights(f"{url}/a.pth?raw=1", good.upper(), kept) == kept / "a.pth"
    (served / "a.pth").unlink()
    assert fetch_weights(f"{url}/a.pth", good, kept).read_bytes() == b"weights"
    with pytest.raises(ShapPruneError, match=r"could not be downloaded .*404"):
        fetch_weights(f"{url}/b.pth", good, kept)
    for bad in ("file:///etc/hostname", f"{url}/"):
        with pytest.raises(ShapPruneError, match="can be downloaded from https"):
            fetch_weights(bad, good, kept)
