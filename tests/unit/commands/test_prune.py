"""``python -m shapprune prune``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from shapprune.networks.storage import load
from shapprune.pruning.shrink import Shrinker
from tests import toys
from tests.toys import ConvNetwork
from tests.unit.commands.files import TOY, facts_of

ROOT = Path(__file__).parents[3]


def test_one_process_prunes_and_another_loads(made, out):
    def run(*given):
        command = [sys.executable, "-m", "shapprune", *map(str, given)]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    given = ("--checkpoint", made / "net.pth", "--architecture", TOY, "--data", made / "photos", "--images", 10)
    told = run("prune", *given, "--macs", "50%", "--distil", 20, "--out", out)
    assert re.search(r"^parameters +\d+ +\d+ +\d+%$", told, flags=re.MULTILINE)
    facts = facts_of(out)
    measured = yaml.safe_load(run("evaluate", "--model", out / "model.safetensors", "--data", made / "photos"))
    assert measured.pop("images") == facts["evaluation_images"] == 15
    assert measured == {name: facts["after"][name] for name in measured}
    assert set(measured) == {"loss", "accuracy", "parameters", "macs"}


@pytest.mark.parametrize("road", [["--sequential"], ["--distil", "none"]])
def test_onnx(call, out, road):
    onnxruntime = pytest.importorskip("onnxruntime")
    assert call("prune", "--ratio", 0.5, "--onnx", *road) == 0
    session = onnxruntime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    x = toys.images(3)
    model = load(out / "model.safetensors", ConvNetwork)
    with torch.no_grad():
        np.testing.assert_allclose(session.run(None, {"images": x.numpy()})[0], model(x).numpy(), atol=1e-5)
    assert call("prune", "--ratio", 0.3, *road) == 0
    assert not (out / "model.onnx").exists()  # it would be of the network before


@pytest.mark.parametrize("road", [["--sequential"], ["--distil", "none"]])
def test_onnx_is_tried_before_anything_long(call, out, road, monkeypatch, capsys):
    monkeypatch.setattr("shapprune.commands.scoring.Scoring.score", lambda self, game, **_: pytest.fail("scored"))
    monkeypatch.setattr(Shrinker, "shrink", lambda self, budget, **_: pytest.fail("pruned"))
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "onnxruntime", None)
        assert call("prune", "--ratio", 0.5, "--onnx", *road) == 1
    assert "export to ONNX needs the package onnxruntime" in capsys.readouterr().err
    monkeypatch.setattr("shapprune.networks.export.TOLERANCE", -1)
    assert call("prune", "--ratio", 0.5, "--onnx", *road) == 1
    assert "ConvNetwork was not exported" in capsys.readouterr().err
    assert not out.exists()


class Forgetful(ConvNetwork):
    """A part of it is not in its state_dict."""

    def __init__(self):
        super().__init__()
        self.shift = [torch.rand(1)]

    def forward(self, x):
        return super().forward(x) + self.shift[0]


@pytest.mark.parametrize("road", [["--sequential"], ["--distil", "none"]])
def test_what_does_not_load_back_is_known_before_anything_long(call, out, road, monkeypatch, capsys):
    monkeypatch.setattr("shapprune.commands.scoring.Scoring.score", lambda self, game, **_: pytest.fail("scored"))
    monkeypatch.setattr(Shrinker, "shrink", lambda self, budget, **_: pytest.fail("pruned"))
    assert call("prune", "--ratio", 0.5, "--architecture", f"{__name__}:Forgetful", *road) == 1
    assert "cannot be saved: loaded again, it computes something else" in capsys.readouterr().err
    assert not out.exists()
