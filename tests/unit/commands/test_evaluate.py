"""``python -m shapprune evaluate``."""

from __future__ import annotations

import re

import pytest
import torch
import yaml

from shapprune.__main__ import main
from shapprune.commands.normalisation import IMAGENET, Normalisation
from shapprune.data.folders import open_folder
from shapprune.data.prepared import splits
from shapprune.networks.evaluation import evaluate
from shapprune.networks.storage import load
from tests.toys import ConvNetwork
from tests.unit.commands.files import TOY, facts_of, write_images


def test_evaluate_without_a_manifest(made, call, out, capsys):
    assert call("prune", "--ratio", 0.5, "--distil", "none") == 0
    capsys.readouterr()
    given = ["--model", made / "net.pth", "--architecture", TOY, "--data", made / "photos"]
    assert main(["evaluate", *map(str, given)]) == 0
    measured = yaml.safe_load(capsys.readouterr().out)
    assert measured.pop("images") == 15
    assert measured == {name: facts_of(out)["before"][name] for name in measured}


def test_images_without_classes(made, tmp_path, capsys):
    write_images(tmp_path, 4, ("flat",))
    given = ["--model", made / "net.pth", "--architecture", TOY, "--data", tmp_path / "flat"]
    assert main(["evaluate", *map(str, given)]) == 1
    assert "flat has no folders of classes, which accuracy needs: give --evaluate-on" in capsys.readouterr().err
    assert main(["evaluate", *map(str, given), "--evaluate-on", str(made / "photos")]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["images"] == 15


def test_classes_are_told_and_a_part_of_them_is_refused(made, tmp_path, capsys):
    given = ["--model", made / "net.pth", "--architecture", TOY, "--data"]
    write_images(tmp_path / "all" / "Training", 2)
    write_images(tmp_path / "all" / "Testing", 3)
    write_images(tmp_path / "some", 2, ("b", "c"))
    assert main(["evaluate", *map(str, given), str(tmp_path / "all")]) == 0
    said = capsys.readouterr().out
    assert re.search(r"; 3 classes in \S+all.Training and \S+all.Testing: a, b, c\n", said)
    assert yaml.safe_load(said)["images"] == 9
    assert main(["evaluate", *map(str, given), str(tmp_path / "some")]) == 1
    assert re.search(r"some has 2 classes \(b, c\), but the network has 3 outputs", capsys.readouterr().err)


def test_classes_are_mapped_by_the_names_in_a_manifest(made, call, out, tmp_path, capsys):
    assert call("prune", "--ratio", 0.5, "--distil", "none") == 0
    assert facts_of(out)["data"]["classes"] == ["a", "b", "c"]
    write_images(tmp_path / "some", 4, ("b", "c"))
    write_images(tmp_path / "other", 4, ("b", "d"))
    capsys.readouterr()
    assert main(["evaluate", "--model", str(out / "model.safetensors"), "--data", str(tmp_path / "some")]) == 0
    measured = yaml.safe_load(capsys.readouterr().out)
    (part,) = open_folder(tmp_path / "some")
    _, held_back = splits(8, 4)
    pixels = Normalisation(*IMAGENET[1]).apply(part.read(held_back, 1, (8, 8)))
    loss, _ = evaluate(load(out / "model.safetensors", ConvNetwork), pixels, torch.tensor(part.labels[held_back] + 1))
    assert measured["loss"] == pytest.approx(loss)
    assert main(["evaluate", "--model", str(out / "model.safetensors"), "--data", str(tmp_path / "other")]) == 1
    assert "other has a class 'd' that the network has not: its classes are a, b, c" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nan", "output.bias in .* holds numbers that are not finite"),
        ("inf", "output.bias in .* holds numbers that are not finite"),
        ("3e38", "the loss of the network on 15 images is inf: "),
    ],
)
def test_a_loss_that_is_not_finite_is_an_error(made, tmp_path, capsys, value, message):
    weights = torch.load(made / "net.pth")["state_dict"]
    weights["output.bias"] = torch.tensor([float(value), 0.0, -float(value)])
    torch.save(weights, tmp_path / "net.pth")
    given = ["--model", tmp_path / "net.pth", "--architecture", TOY, "--data", made / "photos"]
    assert main(["evaluate", *map(str, given)]) == 1
    said = capsys.readouterr()
    assert re.search(message, said.err)
    assert said.out == ""
