"""``python -m shapprune score``, ``prune`` and ``evaluate``."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import shapprune
from shapprune.__main__ import main
from shapprune.commands.scoring import Task
from shapprune.networks.builders import build
from shapprune.networks.storage import load, save
from tests import toys
from tests.toys import ConvNetwork, ResidualNetwork, randomise

ROOT = Path(__file__).parents[3]
TOY = "tests.toys:ConvNetwork"
LAYERS = {"features.0": 4, "features.4": 6, "fc": 8}


def write_images(folder, count, classes=("a", "b", "c"), size=(8, 8), seed=0):
    random = np.random.default_rng(seed)
    for name in classes:
        for number in range(count):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, size, np.uint8)).save(folder / name / f"{number}.png")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A network and a folder of images, 24 to score with and 15 to evaluate on."""
    folder = tmp_path_factory.mktemp("made")
    torch.save({"state_dict": randomise(ConvNetwork()).state_dict()}, folder / "net.pth")
    write_images(folder / "photos" / "train", 8)
    write_images(folder / "photos" / "val", 5, seed=1)
    return folder


@pytest.fixture
def call(made, tmp_path):
    """Run a command on that network and those images, unless others are given, and return its exit code."""

    def run(command, *more):
        given = list(map(str, more))
        for option, value in (("--checkpoint", made / "net.pth"), ("--data", made / "photos")):
            if option not in given:
                given += [option, str(value)]
        if "--architecture" not in given:
            given += ["--architecture", TOY]
        if command in ("score", "prune"):
            given += [] if "--images" in given else ["--images", "10"]
            given += [] if "--out" in given else ["--out", str(tmp_path / "out")]
        return main([command, *given])

    return run


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def facts_of(out):
    return json.loads((out / "model.json").read_text())


def widths_of(out, architecture=ConvNetwork):
    model = load(out / "model.safetensors", architecture)
    modules = dict(model.named_modules())
    return [getattr(modules[layer], "out_channels", None) or modules[layer].out_features for layer in LAYERS]


def test_one_process_prunes_and_another_loads(made, out):
    def run(*given):
        command = [sys.executable, "-m", "shapprune", *map(str, given)]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    given = ("--checkpoint", made / "net.pth", "--architecture", TOY, "--data", made / "photos", "--images", 10)
    told = run("prune", *given, "--ratio", 0.5, "--out", out)
    assert re.search(r"^parameters +\d+ +\d+ +\d+%$", told, flags=re.MULTILINE)
    facts = facts_of(out)
    measured = yaml.safe_load(run("evaluate", "--model", out / "model.safetensors", "--data", made / "photos"))
    assert measured.pop("images") == facts["evaluation_images"] == 15
    assert measured == {name: facts["after"][name] for name in measured}
    assert set(measured) == {"loss", "accuracy", "parameters", "macs"}


def test_the_manifest_says_how_it_was_made(call, out, capsys):
    assert call("prune", "--ratio", 0.5, "--skip", "fc", "--batch", 3, "--threads", 1, "--seed", 4) == 0
    facts = facts_of(out)
    assert facts["network"] == {"architecture": TOY, "options": {}}
    assert facts["choice"] == {"ratio": 0.5, "multiple": 1, "skip": ["fc"], "sequential": True}
    assert facts["scores"]["criterion"] == "coalition-gradient"
    assert (facts["scores"]["images"], facts["scores"]["seed"], facts["scores"]["aggregate"]) == (10, 4, "mean")
    assert facts["checkpoint"]["file"] == "net.pth"
    assert facts["data"]["mean"] == [0.449]
    assert "mean" not in facts["after"]
    for when in ("before", "after"):
        assert facts[when]["latency"]["median_ms"] > 0
        assert (facts[when]["latency"]["batch"], facts[when]["latency"]["threads"]) == (3, 1)
    assert {layer: len(kept) for layer, kept in facts["kept"].items()} == {"features.0": 2, "features.4": 3}
    assert facts["after"]["parameters"] < facts["before"]["parameters"]
    assert facts["after"]["macs"] < facts["before"]["macs"]
    assert "less 0.449, divided by 0.226 (ImageNet's" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("choice", "widths"),
    [
        (["--ratio", 0.5], [2, 3, 4]),
        (["--ratio", 0.5, "--no-sequential"], [2, 3, 4]),
        (["--ratio", 0.5, "--multiple", 4], [4, 4, 4]),
        (["--widths", "{features.0: 1, fc: 5}"], [1, 6, 5]),
        (["--parameters", 200], [2, 3, 4]),
        (["--macs", 4000, "--skip", "features.0"], [4, 2, 3]),
        (["--loss-growth", 1e9, "--multiple", 3], [3, 3, 3]),
        (["--loss-growth", 0, "--criterion", "weight-norm"], None),
        (["--negative", "--payoff", "margin"], None),
        (["--ratio", 0.3, "--repair", "batchnorm"], [3, 5, 6]),
        (["--parameters", 10**9], [4, 6, 8]),
    ],
)
def test_choices(choice, widths, call, out):
    assert call("prune", *choice) == 0
    assert widths is None or widths_of(out) == widths
    facts = facts_of(out)
    assert choice[0].removeprefix("--").replace("-", "_") in facts["choice"]
    if choice[0] in ("--parameters", "--macs"):
        assert facts["after"][choice[0].removeprefix("--")] <= choice[1]
    assert facts["choice"]["sequential"] == ("--no-sequential" not in choice)


def test_sequential_scores_what_is_left(call, out, monkeypatch):
    seen = []

    def count(self, layer, model=None):
        seen.append((layer, sum(each.numel() for each in (model or self.model).parameters())))
        return game(self, layer, model)

    game = Task.game
    monkeypatch.setattr(Task, "game", count)
    assert call("prune", "--ratio", 0.5) == call("prune", "--ratio", 0.5, "--no-sequential") == 0
    layers, sizes = zip(*seen, strict=True)
    assert layers == (*reversed(LAYERS), *LAYERS)
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[3] == sizes[4] == sizes[5] == sizes[0]


def test_layers_that_keep_all_units_are_not_scored(call, monkeypatch):
    monkeypatch.setattr(Task, "score", lambda self, game, **_: pytest.fail("scored"))
    assert call("prune", "--ratio", 0.01) == 0


def test_what_is_pruned_can_be_pruned_again(made, call, out, tmp_path):
    assert call("prune", "--widths", "{fc: 6}", "--mean", 0.3, "--std", 0.2) == 0
    again = tmp_path / "again"
    given = ["--checkpoint", out / "model.safetensors", "--data", made / "photos", "--images", 5, "--ratio", 0.5]
    assert main(["prune", *map(str, given), "--criterion", "taylor", "--out", str(again)]) == 0
    assert widths_of(again) == [2, 3, 3]
    assert set(facts_of(again)["kept"]["fc"]) < set(facts_of(out)["kept"]["fc"])
    assert facts_of(again)["data"]["mean"] == [0.3]


def test_residual_streams(made, tmp_path, out, call):
    torch.save(randomise(ResidualNetwork()).state_dict(), tmp_path / "res.pt")
    given = ["--checkpoint", tmp_path / "res.pt", "--architecture", "tests.toys:ResidualNetwork", "--ratio", 0.5]
    assert call("prune", *given) == 0
    assert {name: len(kept) for name, kept in facts_of(out)["kept"].items()} == {"conv1": 3}
    assert call("prune", *given, "--coupled") == 0
    kept = facts_of(out)["kept"]
    assert {name: len(each) for name, each in kept.items()} == {"conv1": 3, "stem": 2, "conv2": 2}
    assert kept["stem"] == kept["conv2"]
    assert call("prune", *given, "--coupled", "--skip", "conv2") == 0  # and with it the whole group
    assert facts_of(out)["kept"].keys() == {"conv1"}


def test_named_architectures_and_known_sets(tmp_path, out, call):
    save(build("mlp", shape=(1, 8, 8), width=12), tmp_path / "mlp.safetensors")
    given = ["--checkpoint", tmp_path / "mlp.safetensors", "--architecture", "mlp", "--options", "{width: 12}"]
    assert call("prune", *given, "--data", "digits", "--ratio", 0.5, "--evaluate", 20) == 0
    assert facts_of(out)["network"]["options"] == {"width": 12}
    assert facts_of(out)["outputs"] == 10
    assert len(facts_of(out)["kept"]["fc1"]) == 6


@pytest.mark.parametrize("seed", [0, 1])
def test_scoring_and_evaluation_share_no_image(made, tmp_path, call, monkeypatch, seed):
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
    assert call("prune", *given, "--ratio", 0.5) == 0
    scoring, *others = read
    assert len(scoring) == 9
    assert all(not scoring & other for other in others)
    assert set.union(scoring, *others) == set(range(18))


def test_onnx(call, out):
    onnxruntime = pytest.importorskip("onnxruntime")
    assert call("prune", "--ratio", 0.5, "--onnx") == 0
    session = onnxruntime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    x = toys.images(3)
    model = load(out / "model.safetensors", ConvNetwork)
    with torch.no_grad():
        np.testing.assert_allclose(session.run(None, {"images": x.numpy()})[0], model(x).numpy(), atol=1e-5)
    assert call("prune", "--ratio", 0.3) == 0
    assert not (out / "model.onnx").exists()  # it would be of the network before


def test_onnx_is_tried_before_scoring(call, out, monkeypatch, capsys):
    monkeypatch.setattr(Task, "score", lambda self, game, **_: pytest.fail("scored"))
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "onnxruntime", None)
        assert call("prune", "--ratio", 0.5, "--onnx") == 1
    assert "export to ONNX needs the package onnxruntime" in capsys.readouterr().err
    monkeypatch.setattr("shapprune.networks.export.TOLERANCE", -1)
    assert call("prune", "--ratio", 0.5, "--onnx") == 1
    assert "ConvNetwork was not exported" in capsys.readouterr().err
    assert not out.exists()


def test_scores_are_taken_up_after_a_kill(call, out, monkeypatch, capsys):
    scored = []

    def count(self, game, **options):
        if len(scored) == 2:
            raise KeyboardInterrupt
        scored.append(game.layer)
        return score(self, game, **options)

    score = Task.score
    monkeypatch.setattr(Task, "score", count)
    with pytest.raises(KeyboardInterrupt):
        call("score")
    assert scored == ["features.0", "features.4"]
    scored[:] = []
    assert call("score") == 0
    assert scored == ["fc"]
    assert capsys.readouterr().out.count("stored") == 2
    assert {path.name for path in out.iterdir()} == {f"{layer}{end}" for layer in LAYERS for end in (".npz", ".json")}
    scored[:] = []
    assert call("score", "--layers", "fc", "--seed", 1) == 0  # other settings
    assert scored == ["fc"]


def test_prune_with_scores_of_before(call, out, tmp_path, monkeypatch):
    scores, small = tmp_path / "scores", tmp_path / "small"
    assert call("score", "--out", scores, "--criterion", "permutation", "--criterion-options", "{permutations: 2}") == 0
    assert call("prune", "--ratio", 0.5, "--no-sequential", "--criterion", "permutation", "--criterion-options",
                "{permutations: 2}") == 0  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(Task, "score", lambda self, game, **_: pytest.fail("scored"))
        assert call("prune", "--ratio", 0.5, "--scores", scores, "--out", small) == 0
        (scores / "fc.npz").unlink()
        assert call("prune", "--ratio", 0.5, "--scores", scores, "--out", tmp_path / "less") == 0
    assert facts_of(small)["kept"] == facts_of(out)["kept"]
    assert facts_of(small)["scores"]["criterion"] == "permutation"
    assert facts_of(small)["scores"]["digest"] == facts_of(out)["scores"]["digest"]
    assert facts_of(tmp_path / "less")["kept"].keys() == {"features.0", "features.4"}


def test_scores_that_do_not_belong_to_the_network(call, tmp_path, made, capsys):
    scores = tmp_path / "scores"
    given = ["--scores", scores, "--ratio", 0.5]
    assert call("prune", *given) == 1
    assert "scores has no scores of layers of this network (features.0, " in capsys.readouterr().err
    assert call("score", "--out", scores, "--criterion", "taylor") == 0
    assert call("score", "--out", scores, "--criterion", "apoz", "--layers", "fc") == 0
    assert call("prune", *given) == 1
    assert "are of several settings" in capsys.readouterr().err
    torch.save(randomise(ConvNetwork(), 5).state_dict(), tmp_path / "other.pth")
    assert call("prune", *given, "--checkpoint", tmp_path / "other.pth") == 1
    assert "features.0.npz are of another network than" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


MISTAKES = {
    "ratio of 1": (["--ratio", "1"], "ratio 1.0 is not strictly between 0 and 1"),
    "width": (["--widths", "{fc: 9}"], "layer 'fc' has 8 units and cannot keep 9"),
    "width of no layer": (["--widths", "{fcc: 9}"], "unknown layer 'fcc'; did you mean 'fc'?"),
    "width in words": (["--widths", "{fc: few}"], "--widths of layer 'fc' is 'few', not a whole number"),
    "growth": (["--loss-growth", "-1"], "--loss-growth -1.0 is not a share of 0 or more"),
    "parameters": (["--parameters", "3"], "3 parameters cannot be reached"),
    "multiple": (["--ratio", "0.5", "--multiple", "0"], "--multiple 0 is not 1 or more"),
    "threads": (["--ratio", "0.5", "--threads", "0"], "--threads 0 is not 1 or more"),
    "skip": (["--ratio", "0.5", "--skip", "fcc"], "unknown layer 'fcc'; did you mean 'fc'?"),
    "skip of all": (["--ratio", "0.5", "--skip", *LAYERS], "no layer is left to lose units"),
    "criterion": (["--ratio", "0.5", "--criterion", "tailor"], "did you mean 'taylor'"),
    "criterion's option": (["--ratio", "0.5", "--criterion-options", "{point: 3}"], "did you mean 'points'"),
    "aggregate": (["--ratio", "0.5", "--aggregate", "median"], "unknown aggregate 'median'"),
    "payoff": (["--ratio", "0.5", "--payoff", "los"], "did you mean 'loss'"),
    "repair": (["--ratio", "0.5", "--repair", "batch-norm"], "did you mean 'batchnorm'"),
    "options": (["--ratio", "0.5", "--options", "{width: 3}"], f"{TOY!r} does not take the options"),
    "architecture": (["--ratio", "0.5", "--architecture", "lenet"], "did you mean 'lenet5'"),
    "seed": (["--ratio", "0.5", "--seed", "-1"], "--seed -1 is not 0 or more"),
    "too many images": (["--ratio", "0.5", "--images", "25"], "25 images were asked for, but .* has 24 for scoring"),
    "too many to evaluate": (["--ratio", "0.5", "--evaluate", "16"], "has 15 for evaluation"),
    "no data": (["--ratio", "0.5", "--data", "mnits"], "is no folder, .* did you mean 'mnist'"),
    "size": (["--ratio", "0.5", "--size", "0", "8"], "--size 0 8 is not"),
    "another size": (["--ratio", "0.5", "--size", "12", "12"], r"fails on images \[1, 12, 12\]"),
    "colours": (["--ratio", "0.5", "--channels", "3"], r"fails on images \[3, 8, 8\]"),
    "mean": (["--ratio", "0.5", "--mean", "0", "--std", "1", "1"], "the std of images is 1 numbers, one a channel"),
    "std of 0": (["--ratio", "0.5", "--mean", "0", "--std", "0"], "above 0, not 0.0"),
    "mean alone": (["--ratio", "0.5", "--mean", "0"], "give --mean and --std together"),
    "growth of groups": (
        ["--loss-growth", "1", "--coupled", "--checkpoint", "{res}", "--architecture", "tests.toys:ResidualNetwork"],
        "of stem, conv2 leave together",
    ),
    "too few outputs": (
        ["--ratio", "0.5", "--checkpoint", "{two}", "--options", "{classes: 2}"],
        "has labels up to 2, but the network has 2 outputs",
    ),
    "another network": (["--ratio", "0.5", "--checkpoint", "{res}"], "has no tensor features.0.weight"),
    "no checkpoint": (["--ratio", "0.5", "--checkpoint", "gone.pth"], "there are no weights at gone.pth"),
    "scores and criterion": (["--ratio", "0.5", "--scores", "s", "--criterion", "taylor"], "cannot be given with"),
    "out": (["--ratio", "0.5", "--out", "{res}"], "cannot be written: .* is no folder"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_sentences_and_nothing_is_written(name, call, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Task, "score", lambda self, game, **_: pytest.fail("scored"))
    torch.save(ResidualNetwork().state_dict(), tmp_path / "res.pth")
    torch.save(ConvNetwork(classes=2).state_dict(), tmp_path / "two.pth")
    files = {"{res}": tmp_path / "res.pth", "{two}": tmp_path / "two.pth"}
    there = set(tmp_path.rglob("*"))
    arguments, message = MISTAKES[name]
    assert call("prune", *[files.get(each, each) for each in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert re.search(message, error)
    assert set(tmp_path.rglob("*")) == there


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers", "fc", "fcc"], "unknown layer 'fcc'; did you mean 'fc'?"),
        (["--criterion", "exact", "--options", "{channels: [4, 30]}", "--checkpoint", "{wide}"],
         "exact can do up to 20 units, but layer 'features.4' has 30"),
        (["--criterion", "batchnorm-scale"], "batchnorm-scale needs a BatchNorm, but none follows layer 'fc'"),
        (["--out", "{wide}"], "cannot be written"),
    ],
)  # fmt: skip
def test_mistakes_of_score(arguments, message, call, out, tmp_path, capsys):
    torch.save(ConvNetwork(channels=(4, 30)).state_dict(), tmp_path / "wide.pth")
    assert call("score", *[each.format(wide=tmp_path / "wide.pth") if each == "{wide}" else each for each in arguments])
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_evaluate_without_a_manifest(made, call, out, capsys):
    assert call("prune", "--ratio", 0.5) == 0
    capsys.readouterr()
    given = ["--model", made / "net.pth", "--architecture", TOY, "--data", made / "photos"]
    assert main(["evaluate", *map(str, given)]) == 0
    measured = yaml.safe_load(capsys.readouterr().out)
    assert measured.pop("images") == 15
    assert measured == {name: facts_of(out)["before"][name] for name in measured}


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_damaged_image_is_found_before_scoring(part, made, call, out, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Task, "score", lambda self, game, **_: pytest.fail("scored"))
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


def test_no_manifest_and_no_architecture(made, capsys):
    assert main(["evaluate", "--model", str(made / "net.pth"), "--data", "digits"]) == 1
    assert "nothing says what builds the network of" in capsys.readouterr().err


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
    assert call("prune", "--ratio", 0.5, "--data", own_data(toys.images(40), torch.from_numpy(labels))) == 0
    assert "as they come" in capsys.readouterr().out
    assert facts_of(out)["data"]["mean"] == []
    assert facts_of(out)["evaluation_images"] == 20
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    function = own_data(pixels, labels)
    assert call("prune", "--ratio", 0.5, "--data", function, "--mean", 0.5, "--std", 0.25) == 0
    assert facts_of(out)["data"] == {
        "name": function,
        "shape": [1, 8, 8],
        "mean": [0.5],
        "std": [0.25],
        "resized": False,
    }
    assert call("prune", "--ratio", 0.5, "--data", own_data(pixels, labels, pixels[:9], labels[:9])) == 0
    assert facts_of(out)["data"]["mean"] == [pytest.approx(pixels.mean() / 255)]
    assert facts_of(out)["evaluation_images"] == 9


@pytest.mark.parametrize(
    ("arrays", "more", "message"),
    [
        ((np.zeros((4, 8, 8)),), [], "must return images and labels"),
        ((np.zeros((4, 8, 8), int), np.zeros(4, int)), [], r"must return images as uint8 .*, not int64 \[4, 8, 8\]"),
        ((np.zeros((4, 1, 8, 8)), np.zeros(3, int)), [], "must return 4 labels, one an image"),
        ((np.zeros((4, 1, 8, 8)), np.zeros(4)), [], "must return 4 labels, one an image, of 0 and more, not float64"),
        ((np.zeros((4, 1, 8, 8)), np.full(4, 3)), [], "labels up to 3, but the network has 3 outputs"),
        ((np.zeros((4, 1, 8, 8)), np.zeros(4, int)), ["--mean", "0", "--std", "1"], "are floats, which are taken"),
        ((np.zeros((4, 1, 8, 8)), np.zeros(4, int)), ["--size", "8", "8"], "are for a folder of images"),
        ((np.zeros((4, 8, 8, 2), np.uint8), np.zeros(4, int)), [], "of 8 channels give --mean and --std"),
    ],
)
def test_what_a_function_must_return(arrays, more, message, own_data, call, out, capsys):
    assert call("prune", "--ratio", 0.5, "--images", 2, "--data", own_data(*arrays), *more) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not out.exists()
