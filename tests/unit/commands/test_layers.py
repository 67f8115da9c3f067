"""``python -m shapprune layers``."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from shapprune.__main__ import main
from shapprune.networks.tables import layer_table


def test_layers_can_be_pasted_into_a_configuration(capsys):
    assert main(["layers", "--architecture", "resnet20", "--data", "cifar10"]) == 0
    out = capsys.readouterr().out
    assert yaml.safe_load(out)["layers"] == layer_table("resnet20", {})
    assert "# layer1.0.conv2: " in out  # why a layer is not among them


def test_what_the_units_of_each_layer_are(capsys):
    assert main(["layers", "--architecture", "cct", "--options", "{depth: 1}", "--shape", "3", "8", "8"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line.startswith('"')] == [
        '"tokenizer.conv_layers.0.0": 64  # channels',
        '"classifier.blocks.0.self_attn": 2  # heads',
        '"classifier.blocks.0.linear1": 128  # neurons',
    ]


@pytest.mark.parametrize(
    ("kind", "names"),
    [("branches", {"layer1.0", "layer2.0", "layer3.0"}), ("blocks", {"layer1.0"})],
)
def test_branches_and_blocks_of_a_network(kind, names, capsys):
    assert main(["layers", f"--{kind}", "--architecture", "resnet20", "--data", "cifar10"]) == 0
    found = yaml.safe_load(capsys.readouterr().out)[kind]
    assert {name for name in found if name.endswith(".0")} == names
    assert found["layer1.1"] == 4672


def test_layers_of_an_own_network(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_networks_for_cli.py").write_text(
        "from torch import nn\ndef build(width=3):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 2))\n"
    )
    monkeypatch.chdir(tmp_path)
    given = [
        "layers",
        "--architecture",
        "my_networks_for_cli:build",
        "--options",
        "{width: 7}",
        "--shape",
        "1",
        "4",
        "4",
    ]
    assert main(given) == 0
    assert yaml.safe_load(capsys.readouterr().out) == {"layers": {"1": 7}}


@pytest.mark.parametrize(
    ("layers", "comments"),
    [
        ("nn.Flatten(), nn.Linear(16, 2)", "  # Sequential has no convolution or linear layer but its output layer"),
        (
            "nn.Linear(4, 6), nn.Flatten(), nn.Linear(24, 2)",
            "  # 0: its units go on into '1', of which it is not known what becomes of units",
        ),
    ],
)
def test_a_network_of_which_nothing_can_leave(layers, comments, tmp_path, monkeypatch, capsys):
    name = f"my_networks_{len(layers)}"
    (tmp_path / f"{name}.py").write_text(f"from torch import nn\ndef build():\n    return nn.Sequential({layers})\n")
    monkeypatch.chdir(tmp_path)
    assert main(["layers", "--architecture", f"{name}:build", "--shape", "1", "4", "4"]) == 0
    out = capsys.readouterr().out
    assert yaml.safe_load(out) == {"layers": {}}
    assert out.splitlines()[1:] == [comments]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--architecture", "lenet", "--data", "mnist"], "did you mean 'lenet5'"),
        (["--architecture", "lenet5", "--data", "mnits"], "did you mean 'mnist'"),
        (["--architecture", "lenet5"], "--data or --shape"),
        (["--architecture", "mlp", "--data", "mnist", "--options", "3"], "--options '3'"),
        (["--architecture", "mlp", "--data", "mnist", "--options", "{a"], "--options '{a'"),
        (["--architecture", "mlp", "--shape", "1", "8", "8", "--options", "{wdth: 3}"], "did you mean 'width'"),
    ],
)
def test_mistakes_are_sentences(arguments, named, capsys):
    assert main(["layers", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert named in error


def test_nothing_is_imported_that_only_scoring_needs():
    code = (
        "import sys; from shapprune.__main__ import main;"
        "main(['layers', '--architecture', 'lenet5', '--data', 'mnist']);"
        "print([name for name in sys.modules if name in ('scipy', 'torchvision')"
        " or name.startswith(('shapprune.game', 'shapprune.shapley.', 'shapprune.criteria.scoring'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
