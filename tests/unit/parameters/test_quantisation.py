"""Quantised networks: their weights, sizes and files."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from shapprune import ShapPruneError
from shapprune.parameters.hessians import corrected_hessian, input_hessians
from shapprune.parameters.quantisation import METHODS, Scheme, quantise
from shapprune.parameters.quantised_files import load_quantised, save_quantised
from shapprune.parameters.quantisers import gptq, round_to_nearest
from tests.toys import ConvNetwork, images, sequences
from tests.unit.parameters.cases import LAYERS, network
from tests.unit.transformers import CASES, build


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


def test_in_turn_a_layer_is_calibrated_with_what_quantised_layers_put_out():
    model, x = network(), images(30)
    small = quantise(model, x, Scheme("gptq", 4, in_turn=True))
    half = copy.deepcopy(model)  # all but the last layer as they are in the quantised network
    for name in LAYERS[:-1]:
        half.get_submodule(name).load_state_dict(small.model.get_submodule(name).state_dict())
    expected = gptq(model.output.weight, input_hessians(half, x, ["output"])["output"], 4)
    assert torch.equal(small.weights["output.weight"].codes, expected.codes)
    at_once = quantise(model, x, Scheme("gptq", 4))
    assert list(small.weights) == list(at_once.weights)
    assert torch.equal(small.weights["features.0.weight"].codes, at_once.weights["features.0.weight"].codes)
    later = [f"{name}.weight" for name in LAYERS[1:]]
    assert any(not torch.equal(small.weights[name].codes, at_once.weights[name].codes) for name in later)
    rounded = quantise(model, scheme=Scheme("round", 4, in_turn=True))
    assert torch.equal(rounded.model(x), quantise(model, scheme=Scheme("round", 4)).model(x))


def test_schemes_share_hessians():
    model, x = network(), images(30)
    hessians = input_hessians(model, x, LAYERS)
    for method in ("gptq", "shapley"):
        small = quantise(model, scheme=Scheme(method, 4, beta=0.1), hessians=hessians)
        expected = quantise(model, x, Scheme(method, 4, beta=0.1))
        assert all(torch.equal(small.weights[name].codes, each.codes) for name, each in expected.weights.items())


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
    assert quantise(model, tokens, Scheme(in_turn=True)).whole == small.whole
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
    assert len(quantise(model, case.inputs, Scheme("gptq", 8, in_turn=True)).weights) == len(small.weights)
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
        (lambda: quantise(network(), scheme=Scheme(in_turn=True), hessians={}), "do not fit a scheme in turn"),
        (lambda: quantise(network(), images(3), layers=["fx"]), "unknown layer 'fx'; allowed: fc, features.0"),
        (lambda: quantise(nn.ReLU(), images(3)), "ReLU has no layers whose weights can be quantised"),
    ],
)
def test_what_cannot_be_quantised_is_refused(call, message):
    with pytest.raises(ShapPruneError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
