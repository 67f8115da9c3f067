"""The network of a command."""

from __future__ import annotations

import argparse

import pytest
import torch
from safetensors.torch import save_file

from shapprune.__main__ import main
from shapprune.networks.builders import build
from tests.unit.commands.files import TOY


def test_no_manifest_and_no_architecture(made, capsys):
    assert main(["evaluate", "--model", str(made / "net.pth"), "--data", "digits"]) == 1
    assert "--architecture" in capsys.readouterr().err


def measured(path, made, capsys, architecture=TOY):
    given = ["--model", path, "--architecture", architecture, "--data", made / "photos"]
    code = main(["evaluate", *map(str, given)])
    said = capsys.readouterr()
    return (said.out if code == 0 else ""), said.err


@pytest.fixture
def weights(made):
    return torch.load(made / "net.pth")["state_dict"]


def test_names_of_others_tell_channels_too(made, weights, tmp_path, capsys):
    expected, _ = measured(made / "net.pth", made, capsys)
    content = {"net": {f"module.model.{name}": each for name, each in weights.items()}, "args": argparse.Namespace(a=1)}
    torch.save(content, tmp_path / "net.pth")
    assert measured(tmp_path / "net.pth", made, capsys) == (expected, "")
    torch.save(content | {"ema": weights}, tmp_path / "net.pth")
    found, said = measured(tmp_path / "net.pth", made, capsys)
    assert found == expected
    assert said == f"{tmp_path / 'net.pth'}: the weights net are taken, not ema\n"


def test_named_architectures_have_the_classes_of_a_file_with_other_names(made, tmp_path, capsys):
    model = build("lenet5", (1, 16, 16), 3)
    torch.save({f"_orig_mod.{name}": each for name, each in model.state_dict().items()}, tmp_path / "net.pth")
    given = ["--model", tmp_path / "net.pth", "--architecture", "lenet5", "--data", made / "photos", "--size", 16, 16]
    assert main(["evaluate", *map(str, given)]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("beside", ['["a", "b", "c"]', "3", '{"classes": 3}'])
def test_json_of_other_programs_is_no_manifest(made, weights, beside, tmp_path, capsys):
    save_file(weights, tmp_path / "net.safetensors")
    (tmp_path / "net.json").write_text(beside)
    expected, _ = measured(made / "net.pth", made, capsys)
    assert measured(tmp_path / "net.safetensors", made, capsys) == (expected, "")


def test_what_is_no_json_beside_weights_is_neither_damaged_nor_to_be_deleted(made, weights, tmp_path, capsys):
    save_file(weights, tmp_path / "net.safetensors")
    (tmp_path / "net.json").write_text("a: 3")
    found, said = measured(tmp_path / "net.safetensors", made, capsys)
    assert not found
    assert f"{tmp_path / 'net.json'} cannot be read as JSON, and would be the manifest of net.safetensors" in said
    assert "delete" not in said
