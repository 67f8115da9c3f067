"""Quantised networks: their weights, sizes, files, and Hessians of their inputs."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import shapprune
from shapprune import ShapPruneError
from shapprune.parameters import hessians as module
from shapprune.parameters.hessians import corrected_hessian, input_hessians
from shapprune.parameters.quantisation import METHODS, Scheme, quantise
from shapprune.parameters.quantised_files import load_quantised, pack, save_quantised, unpack
from shapprune.parameters.quantisers import gptq, round_to_nearest
from tests.toys import ConvNetwork, images, randomise, sequences
from tests.unit.transformers import CASES, build

LAYERS = ["features.0", "features.4", "fc", "output"]


def network():
    return randomise(ConvNetwork()).eval()


def test_hessians_are_those_of_all_inputs_of_a_layer(monkeypatch):
    model, x = network(), images(7)
    found = input_hessians(model, x, LAYERS, batch=3)
    with torch.no_grad():
        patches = nn.functional.unfold(x, 3, padding=1).mT.flatten(0, 1).double()
        entering = model.features(x).flatten(1).double()
    torch.testing.assert_close(found["features.0"], 2 * patches.T @ patches / len(patches))
    torch.testing.assert_close(found["fc"], 2 * entering.T @ entering / 7)
    assert {name: len(each) for name, each in found.items()} == dict(zip(LAYERS, [9, 36, 24, 8], strict=True))
    monkeypatch.setattr(module, "_NUMBERS", 600)  # now three passes are needed
    again = input_hessians(model, x, LAYERS, batch=50)
    for name, each in found.items():
        torch.testing.assert_close(again[name], each)
    assert not model.fc._forward_pre_hooks


@pytest.mark.filterwarnings("ignore:Hessians that were not positive definite")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bits", [4, 8])
def test_each_method_is_its_quantiser_with_its_hessian(method, bits):
    model, x = network(), images(30)
    before = copy.deepcopy(model.state_dict())
    small = quantise(model, x, Scheme(method, bits, beta=0.3))
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert list(small.weights) == [f"{name}.weight" for name in LAYERS]
    assert not small.whole
    hessian, weight = input_hessians(model, x, ["fc"])["fc"], model.fc.weight
    expected = {
        "round": lambda: round_to_nearest(weight, bits),
        "gptq": lambda: gptq(weight, hessian, bits),
        "obd": lambda: gptq(weight, torch.diag(hessian.diagonal()), bits),
        "shapley-diagonal": lambda: gptq(weight, corrected_hessian(hessian, weight, 0.3, diagonal=True), bits),
        "shapley": lambda: gptq(weight, corrected_hessian(hessian, weight, 0.3, diagonal=False), bits),
    }[method]()
    assert torch.equal(small.weights["fc.weight"].codes, expected.codes)
    assert torch.equal(small.model.fc.weight, expected.weight())
    assert torch.equal(small.model.fc.bias, model.fc.bias)
    rounded = quantise(model, scheme=Scheme("round", bits))
    same = torch.equal(small.weights["fc.weight"].codes, rounded.weights["fc.weight"].codes)
    assert same == (method in ("round", "obd", "shapley-diagonal"))


def test_gptq_loses_less_than_rounding():
    model, x = network(), images(100)
    with torch.no_grad():
        truth = model(x)
        off = {
            method: float((quantise(model, x, Scheme(method, 4)).model(x) - truth).square().mean())
            for method in ("round", "gptq")
        }
        eight = float((quantise(model, x, Scheme("round", 8)).model(x) - truth).square().mean())
    assert off["gptq"] < 0.8 * off["round"]
    assert eight < 0.05 * off["round"]


@pytest.mark.parametrize(("bits", "length"), [(4, 0.5), (8, 1)])
def test_sizes_and_files(bits, length, tmp_path):
    model, path = network(), tmp_path / "small.safetensors"
    small = quantise(model, images(8), Scheme(bits=bits))
    codes, rows = 36 + 216 + 192 + 24, 4 + 6 + 8 + 3
    others = 4 * (rows + 4 * (4 + 6)) + 2 * 8  # biases, BatchNorms, and how often each of them was trained
    assert small.bytes == codes * length + 4 * rows + others
    assert small.bytes_before == 4 * codes + others
    save_quantised(small, path, seed=3)
    assert sum(each.nbytes for each in load_file(path).values()) == small.bytes
    manifest = json.loads(path.with_suffix(".json").read_text())
    assert manifest["seed"] == 3
    assert manifest["quantised"]["fc.weight"] == {"bits": bits, "shape": [8, 24]}
    again = load_quantised(path, ConvNetwork)
    assert not again.model.training
    assert again.bytes == small.bytes
    for name, each in small.weights.items():
        assert torch.equal(again.weights[name].codes, each.codes)
    assert torch.equal(again.model(images(5)), small.model(images(5)))
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(ShapPruneError, match="was changed or damaged"):
        load_quantised(path, ConvNetwork)


def test_files_of_others_are_refused(tmp_path):
    small = quantise(network(), scheme=Scheme("round"))
    save_quantised(small, tmp_path / "a")
    with pytest.raises(ShapPruneError, match="of another architecture"):
        load_quantised(tmp_path / "a", lambda: ConvNetwork(hidden=9))
    shapprune.save(network(), tmp_path / "b")
    with pytest.raises(ShapPruneError, match="is no manifest of shapprune"):
        load_quantised(tmp_path / "b", ConvNetwork)
    with pytest.raises(ShapPruneError, match="there is no file"):
        load_quantised(tmp_path / "c", ConvNetwork)


def test_codes_of_four_bits_are_packed_by_twos():
    codes = torch.arange(-7, 8, dtype=torch.int8).view(3, 5)
    packed = pack(codes, 4)
    assert packed.dtype == torch.uint8
    assert len(packed) == 8
    assert torch.equal(unpack(packed, 4, codes.shape), codes)
    assert pack(codes, 8) is codes


class Tied(nn.Module):
    """An output layer with the table of the tokens, and a layer that does not run."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.fc, self.output = nn.Embedding(5, 6), nn.Linear(6, 6), nn.Linear(6, 5, bias=False)
        self.unused, self.output.weight = nn.Linear(2, 2), self.table.weight

    def forward(self, tokens):
        return self.output(self.fc(self.table(tokens)))


def test_shared_weights_and_layers_that_do_not_run_stay_whole(tmp_path):
    model, (tokens, _) = Tied().eval(), sequences(4)
    small = quantise(model, tokens)
    assert list(small.weights) == ["fc.weight"]
    assert small.whole == {"output": "its weight is shared", "unused": "it does not run by itself"}
    assert small.bytes_before == 4 * (30 + 42 + 6)
    assert small.model.output.weight is small.model.table.weight
    save_quantised(small, tmp_path / "a")
    again = load_quantised(tmp_path / "a", Tied)
    assert torch.equal(again.model(tokens), small.model(tokens))
    with pytest.raises(ShapPruneError, match="layer 'output' cannot be quantised: its weight is shared"):
        quantise(model, tokens, layers=["output"])
    with pytest.raises(ShapPruneError, match="'unused' does not run by itself"):
        quantise(model, tokens, layers=["unused"])
    assert list(quantise(model, scheme=Scheme("round"), layers=["unused"]).weights) == ["unused.weight"]


def test_hessians_that_are_not_positive_definite_are_named():
    model, x = network(), images(4)  # four rows for 24 inputs, and no damping asked for
    with pytest.warns(UserWarning, match=r"not positive definite were damped.*fc by 1e-06"):
        small = quantise(model, x, Scheme(damping=0.0), layers=["fc"])
    assert small.weights["fc.weight"].damping == pytest.approx(1e-6, rel=1e-6)


def test_layers_of_a_language_model():
    case = CASES["llama"]
    model = build(case)
    small = quantise(model, case.inputs, Scheme("gptq", 8))
    assert len(small.weights) == 2 * 7 + 1
    with torch.no_grad():
        off = (small.model(case.inputs).logits - model(case.inputs).logits).abs().max()
    assert 0 < off < 0.3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Scheme("nearest"), "unknown method of quantisation 'nearest'"),
        (lambda: Scheme(bits=2), "weights of 2 bits are not possible"),
        (lambda: Scheme(beta=-0.1), "beta -0.1 is not between 0 and 1"),
        (lambda: Scheme(damping=-1), "damping -1, block 128 and batch 16 must be at least 0, 1 and 1"),
        (lambda: quantise(network()), "method 'gptq' calibrates with images or tokens"),
        (lambda: quantise(network(), images(0)), "calibrated with 0 examples"),
        (lambda: quantise(network(), images(3), layers=["fx"]), "unknown layer 'fx'; allowed: fc, features.0"),
        (lambda: quantise(nn.ReLU(), images(3)), "ReLU has no layers whose weights can be quantised"),
        (lambda: input_hessians(network(), images(3), ["features.1"]), "'features.1' is a BatchNorm2d"),
    ],
)
def test_what_cannot_be_quantised_is_refused(call, message):
    with pytest.raises(ShapPruneError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
