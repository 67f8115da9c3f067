"""The images of a command."""

from __future__ import annotations

import re
import shutil
import sys
import types

import numpy as np
import pytest
import torch
import yaml

import shapprune
from shapprune.__main__ import main
from shapprune.networks.builders import build
from shapprune.networks.evaluation import evaluate
from shapprune.networks.storage import save
from shapprune.pruning.shrink import Shrinker
from tests import toys
from tests.unit.commands.files import TOY, facts_of, write_images

TOKENS = np.arange(60).reshape(12, 5) % 5


def test_named_architectures_and_known_sets(tmp_path, out, call):
    save(build("mlp", shape=(1, 8, 8), width=12), tmp_path / "mlp.safetensors")
    given = ["--checkpoint", tmp_path / "mlp.safetensors", "--architecture", "mlp", "--options", "{width: 12}"]
    assert call("prune", *given, "--data", "digits", "--ratio", 0.5, "--distil", "none", "--evaluate", 20) == 0
    assert facts_of(out)["network"]["options"] == {"width": 12}
    assert facts_of(out)["outputs"] == 10
    assert len(facts_of(out)["kept"]["fc1"]) == 6


@pytest.mark.parametrize("road", [["--sequential"], ["--distil", "none"]])
@pytest.mark.parametrize("seed", [0, 1])
def test_scoring_and_evaluation_share_no_image(made, tmp_path, call, monkeypatch, seed, road):
    flat = tmp_path / "flat"
    write_images(flat, 6)
    read = []
    of_files = shapprune.data.folders.ImageFolder.read
    monkeypatch.setattr(
        shapprune.data.folders.ImageFolder,
        "read",
        lambda self, places, *more, **options: read.append(set(places)) or of_files(self, places, *more, **options),
    )
    given = ["--data", flat, "--images", 9, "--evaluate", "all", "--seed", seed, "--criterion", "taylor"]
    assert call("prune", *given, *road, "--ratio", 0.5) == 0
    scoring, *others = read
    assert len(scoring) == 9
    assert all(not scoring & other for other in others)
    assert set.union(scoring, *others) == set(range(18))


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_damaged_image_is_found_before_scoring(part, made, call, out, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Shrinker, "shrink", lambda self, budget, **_: pytest.fail("pruned"))
    photos = tmp_path / "photos"
    shutil.copytree(made / "photos", photos)
    (photos / part / "b" / "1.png").write_bytes(b"no image")
    assert call("prune", "--ratio", 0.5, "--data", photos, "--images", 24) == 1
    assert re.search(r"b.1\.png cannot be read as an image", capsys.readouterr().err)
    (photos / part / "b" / "1.png").unlink()
    write_images(photos / part, 1, ("b",), size=(9, 8))
    assert call("prune", "--ratio", 0.5, "--data", photos, "--images", 23 if part == "train" else 24) == 1
    assert re.search(r"b.0\.png has 9 x 8 pixels, but .*give the size", capsys.readouterr().err)
    assert not out.exists()


@pytest.fixture
def own_data(monkeypatch):
    """Let a function return what the test says."""

    def returns(*arrays):
        module = types.ModuleType("data_of_test_commands")
        module.load = lambda: arrays
        monkeypatch.setitem(sys.modules, "data_of_test_commands", module)
        return "data_of_test_commands:load"

    return returns


def test_functions_return_floats_or_pixels(own_data, call, out, capsys):
    labels = np.arange(40) % 3
    assert (
        call("prune", "--distil", "none", "--ratio", 0.5, "--data", own_data(toys.images(40), torch.from_numpy(labels)))
        == 0
    )
    assert "as they come" in capsys.readouterr().out
    assert facts_of(out)["data"]["mean"] == []
    assert facts_of(out)["evaluation_images"] == 20
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    function = own_data(pixels, labels)
    assert call("prune", "--distil", "none", "--ratio", 0.5, "--data", function, "--mean", 0.5, "--std", 0.25) == 0
    assert facts_of(out)["data"] == {
        "name": function,
        "shape": [1, 8, 8],
        "mean": [0.5],
        "std": [0.25],
        "resized": False,
    }
    assert (
        call("prune", "--distil", "none", "--ratio", 0.5, "--data", own_data(pixels, labels, pixels[:9], labels[:9]))
        == 0
    )
    assert facts_of(out)["data"]["mean"] == [pytest.approx(pixels.mean() / 255)]
    assert facts_of(out)["evaluation_images"] == 9


def test_a_function_is_called_once(own_data, made, capsys):
    pixels, labels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8), np.arange(12) % 3
    calls = []
    function = own_data((pixels, labels), (pixels, labels))
    module = sys.modules[function.partition(":")[0]]
    load = module.load
    module.load = lambda: calls.append(1) or load()
    assert main(["evaluate", "--model", str(made / "net.pth"), "--architecture", TOY, "--data", function]) == 0
    assert len(calls) == 1
    assert "of its training images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arrays", "more", "named"),
    [
        ((np.zeros((4, 8, 8)),), [], "data_of_test_commands:load .*images and labels"),
        ((np.zeros((4, 8, 8), int), np.zeros(4, int)), [], r"uint8 .*int64 \[4, 8, 8\]"),
        ((np.zeros((4, 1, 8, 8)), np.zeros(3, int)), [], r"4 labels.*int64 \[3\]"),
        ((np.zeros((4, 1, 8, 8)), np.zeros(4)), [], r"4 labels.*float64 \[4\]"),
        ((np.zeros((4, 1, 8, 8)), np.full(4, 3)), [], "labels up to 3.*3 outputs"),
        ((np.zeros((4, 1, 8, 8)), np.zeros(4, int)), ["--mean", "0", "--std", "1"], "floats.*--mean"),
        ((np.zeros((4, 1, 8, 8)), np.zeros(4, int)), ["--size", "8", "8"], "--size"),
        ((np.full((4, 1, 8, 8), np.nan), np.zeros(4, int)), [], "nan or infinite values, the first at place 0"),
        ((np.zeros((4, 8, 8, 2), np.uint8), np.zeros(4, int)), [], "8 channels.*--mean and --std"),
    ],
)
def test_what_a_function_must_return(arrays, more, named, own_data, call, out, capsys):
    assert call("prune", "--ratio", 0.5, "--images", 2, "--data", own_data(*arrays), *more) == 1
    assert re.search(named, capsys.readouterr().err)
    assert not out.exists()


@pytest.fixture
def of_tokens(tmp_path, own_data):
    """Calls a command on what a function returns and a network of eight characters."""
    options = {"width": 8, "depth": 1, "heads": 2, "head_dim": 4, "hidden": 6}
    path = tmp_path / "gpt.safetensors"
    save(toys.randomise(build("char_gpt", shape=(5,), classes=8, **options)), path)

    def run(command, arrays, *more):
        of_network = ["--model" if command == "evaluate" else "--checkpoint", path, "--architecture", "char_gpt"]
        given = [command, *of_network, "--options", options, "--data", own_data(*arrays), *more]
        return main(list(map(str, given)))

    return run


def test_functions_return_tokens(of_tokens, out, capsys):
    tokens = np.random.default_rng(0).integers(0, 8, (30, 6))
    tokens, labels = tokens[:, :-1], np.where(np.arange(5) == 2, -100, tokens[:, 1:])
    found = []
    for arrays in ((tokens, labels), (tokens.astype(np.uint8), labels), (tokens, labels, tokens[::-1], labels[::-1])):
        assert of_tokens("evaluate", arrays, "--evaluate", "all") == 0
        found.append(yaml.safe_load(capsys.readouterr().out))
    assert found[0] == found[1]
    model = toys.randomise(build("char_gpt", (5,), 8, width=8, depth=1, heads=2, head_dim=4, hidden=6))
    expected = evaluate(model, torch.from_numpy(tokens), torch.from_numpy(labels))
    assert (found[2]["loss"], found[2]["accuracy"]) == pytest.approx(expected, rel=1e-5)
    more = ("--layers", "blocks.0.fc1", "blocks.0.attn", "--criterion", "permutation", "--images", 9, "--out", out)
    assert of_tokens("score", (tokens, labels), *more) == 0


@pytest.mark.parametrize(
    ("arrays", "more", "message"),
    [
        ((TOKENS, TOKENS[:, :3]), (), r"tokens and labels must be \[N, 5\], not \[12, 5\] and \[12, 3\]"),
        ((TOKENS, TOKENS - 3), (), "tokens are 0 and up, and so are labels that are not -100, not -3"),
        ((TOKENS, TOKENS + 4), (), "labels up to 8, but the network has 8 outputs, for the labels 0 ... 7"),
        ((TOKENS, TOKENS), (), "the labels are the tokens themselves"),
        ((TOKENS, TOKENS + 1), ("--mean", "0.5", "--std", "1"), "are tokens, which are taken as they come"),
        ((TOKENS, TOKENS + 1, TOKENS, TOKENS + 1), ("--mean", "0.5", "--std", "1"), "are tokens, which"),
    ],
)
def test_tokens_that_do_not_fit_are_refused(of_tokens, capsys, arrays, more, message):
    assert of_tokens("evaluate", arrays, *more) == 1
    assert re.search(message, capsys.readouterr().err)
