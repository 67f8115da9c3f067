"""``python -m shapprune``."""

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
    ("arguments", "message"),
    [
        (["--architecture", "lenet", "--data", "mnist"], "did you mean 'lenet5'"),
        (["--architecture", "lenet5", "--data", "mnits"], "did you mean 'mnist'"),
        (["--architecture", "lenet5"], "give either --data or --shape"),
        (["--architecture", "mlp", "--data", "mnist", "--options", "3"], "is not a mapping"),
        (["--architecture", "mlp", "--data", "mnist", "--options", "{a"], "is not YAML"),
        (["--architecture", "mlp", "--shape", "1", "8", "8", "--options", "{wdth: 3}"], "did you mean 'width'"),
    ],
)
def test_mistakes_are_sentences(arguments, message, capsys):
    assert main(["layers", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.parametrize("command", ["layers", "score", "prune", "evaluate", "merge-pointers"])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"example:\n  python -m shapprune {command} " in capsys.readouterr().out


def test_help_needs_no_torch():
    code = "import sys, shapprune.__main__; sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'PIL')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
