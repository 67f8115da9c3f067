"""Files of weights as others write them: what is read, and what is said of the rest."""

from __future__ import annotations

import argparse
import datetime
import functools
import os
import pathlib
import pickle
from collections import OrderedDict, defaultdict, deque

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from shapprune.core.errors import ShapPruneError
from shapprune.networks.weights import load_weights, read_weights


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1))


def state(model=None):
    return (model or network()).state_dict()


def same_outputs(one: nn.Module, other: nn.Module) -> bool:
    images = torch.rand(3, 2)
    with torch.no_grad():
        return torch.equal(one.eval()(images), other.eval()(images))


class Stranger:
    """An object of a program that is not there."""

    def __init__(self):
        self.value = 3


class Settings(dict):
    """A dictionary with attributes, as packages for configurations have it."""

    def __init__(self, **values):
        super().__init__(values)
        self.__dict__.update(values)


class Names(list):
    """A list of one's own."""


class Program:
    """Runs when it is unpickled as usual."""

    def __reduce__(self):
        return exec, ("raise SystemExit",)


WRAPPED = {
    "alone": lambda weights: weights,
    "epoch": lambda weights: {"model": weights, "epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
    "tutorial": lambda weights: {"model_state_dict": weights, "optimizer_state_dict": {}, "loss": torch.ones(())},
    "net": lambda weights: {"net": weights, "acc": 91.2},
    "averaged": lambda weights: {"ema": weights, "updates": 5},
    "twice": lambda weights: {"model": {"state_dict": weights, "args": [1]}},
    "unusual": lambda weights: {"my_weights": weights, "metrics": {"accuracy": torch.tensor(0.9)}},
    "prefixes": lambda weights: {"state_dict": {f"module._orig_mod.{name}": each for name, each in weights.items()}},
    "no metadata": dict,
    "half": lambda weights: {name: each.half() for name, each in weights.items()},
}
BESIDE = {
    "namespace": argparse.Namespace(lr=0.1, hidden=argparse.Namespace(a=1)),
    "number of numpy": np.float64(0.9),
    "array of numpy": np.arange(3),
    "path": pathlib.PurePosixPath("runs"),
    "dictionary with a default": defaultdict(list, loss=[1.0]),
    "dictionary of one's own": Settings(lr=0.1, inner=Settings(a=1)),
    "list of one's own": Names("ab"),
    "queue": deque([1, 2], maxlen=3),
    "part of a function": functools.partial(max, 3),
    "date": datetime.datetime(2020, 1, 1),
    "frozenset": frozenset([1]),
    "class": torch.optim.SGD,
    "object": Stranger(),
    "program": Program(),
    "network": nn.Linear(2, 2),
}


@pytest.mark.parametrize("how", WRAPPED)
def test_weights_are_found(how, tmp_path):
    model = network()
    weights = {name: each.half().float() for name, each in state(model).items()} if how == "half" else state(model)
    model.load_state_dict(weights)
    torch.save(WRAPPED[how](weights), tmp_path / "net.pth")
    assert same_outputs(load_weights(network(), tmp_path / "net.pth"), model)


@pytest.mark.parametrize("what", BESIDE)
def test_objects_beside_the_weights_are_not_loaded(what, tmp_path):
    model = network()
    torch.save({"args": BESIDE[what], "state_dict": state(model), "last": BESIDE[what]}, tmp_path / "net.pth")
    assert same_outputs(load_weights(network(), tmp_path / "net.pth"), model)
    before = set(torch.serialization.get_safe_globals())
    read_weights(tmp_path / "net.pth")
    assert set(torch.serialization.get_safe_globals()) == before


def test_weights_that_are_taken_are_told_from_others(tmp_path):
    torch.save({"ema": state(), "model": state()}, tmp_path / "net.pth")
    weights = read_weights(tmp_path / "net.pth")
    assert (weights.key, weights.others) == ("model", ["ema"])
    torch.save({"generator": state(), "discriminator": state()}, tmp_path / "net.pth")
    with pytest.raises(ShapPruneError, match=r"holds several weights \(generator, discriminator\); save those of one"):
        read_weights(tmp_path / "net.pth")


def test_files_are_known_by_what_they_begin_with(tmp_path):
    model = network()
    torch.save(state(model), tmp_path / "net.safetensors")
    save_file(state(model), tmp_path / "net.bin")
    for name in ("net.safetensors", "net.bin"):
        assert same_outputs(load_weights(network(), tmp_path / name), model)


def test_old_files_lack_counters(tmp_path):
    torch.save({name: each for name, each in state().items() if "num_batches" not in name}, tmp_path / "old.pth")
    load_weights(network(), tmp_path / "old.pth")


class Versioned(nn.Linear):
    """Its weights had another sign in its first version."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *more):
        if local_metadata.get("version") != 2:
            state_dict[f"{prefix}weight"] = -state_dict[f"{prefix}weight"]
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *more)


@pytest.mark.parametrize("prefix", ["", "module.", "model._orig_mod."])
def test_modules_are_told_in_which_form_their_tensors_are(prefix, tmp_path):
    model = nn.Sequential(Versioned(2, 2))
    found = OrderedDict((f"{prefix}{name}", each) for name, each in state(model).items())
    for version, sign in ((1, -1), (2, 1), (None, 1)):  # without a note it is the form of today
        if version:
            found._metadata = {"": {"version": 1}, f"{prefix}0": {"version": version}}
        elif hasattr(found, "_metadata"):
            del found._metadata
        torch.save({"state_dict": found}, tmp_path / "net.pth")
        back = load_weights(nn.Sequential(Versioned(2, 2)), tmp_path / "net.pth")
        assert torch.equal(back[0].weight, sign * model[0].weight)


class Masked(nn.Linear):
    """Has a mask of infinite numbers, as attention has."""

    def __init__(self, value=float("-inf")):
        super().__init__(2, 2)
        self.register_buffer("mask", torch.tensor([0.0, value]))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value, tmp_path):
    weights = Masked().state_dict()
    torch.save(weights, tmp_path / "net.pth")
    load_weights(Masked(), tmp_path / "net.pth")
    for broken in (weights | {"bias": torch.tensor([0, value])}, weights | {"mask": torch.tensor([0, float("nan")])}):
        torch.save(broken, tmp_path / "net.pth")
        with pytest.raises(ShapPruneError, match=r"^(bias|mask) in \S*net\.pth holds numbers that are not finite"):
            load_weights(Masked(), tmp_path / "net.pth")


def test_what_holds_no_weights_is_told(tmp_path):
    path = tmp_path / "net.pth"
    for content, message in (
        (
            network(),
            r"but an object of torch\.nn\.modules\.container\.Sequential; objects could run code, .* state_dict",
        ),
        ({"model": Stranger()}, r"but a dictionary of model \(tests\..*\.Stranger\); objects could run code"),
        ({"epoch": 3, **state()}, r"but a dictionary of epoch \(int\)$"),
        ({}, "but an empty dictionary$"),
        ([torch.ones(1)], "but an object of list$"),
    ):
        torch.save(content, path)
        with pytest.raises(ShapPruneError, match=f"{path} does not hold weights, a dictionary of tensors, {message}"):
            read_weights(path)


def bytes_of(tmp_path, **options) -> bytes:
    torch.save(state(), tmp_path / "whole.pth", **options)
    return (tmp_path / "whole.pth").read_bytes()


def bytes_of_arrays(tmp_path) -> bytes:
    np.savez(tmp_path / "arrays.npz", weight=np.ones(2))
    return (tmp_path / "arrays.npz").read_bytes()


UNREADABLE = {
    "empty": (lambda _: b"", "it is empty"),
    "page": (lambda _: b"<!DOCTYPE html>", "it is no file of torch.save or safetensors, it begins with b'<!DOCTYPE"),
    "pointer": (lambda _: b"version https://git-lfs.github.com", "it begins with b'version https"),
    "cut off": (lambda folder: bytes_of(folder)[:-100], "it is damaged, or was not written or copied to its end"),
    "old, cut off": (
        lambda folder: bytes_of(folder, _use_new_zipfile_serialization=False)[:-10],
        "it is damaged, or was not written or copied to its end",
    ),
    "arrays": (bytes_of_arrays, "torch says: .*file in archive"),
    "plain pickle": (
        lambda _: pickle.dumps({"weight": np.ones(2)}),
        "more in it than is read without running code .*; torch.save the state_dict",
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_why_a_file_cannot_be_read(name, tmp_path):
    content, reason = UNREADABLE[name]
    path = tmp_path / "net.pth"
    path.write_bytes(content(tmp_path))
    with pytest.raises(ShapPruneError, match=f"{path} cannot be read as weights: .*{reason}") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_objects_that_block_an_old_file_are_named(tmp_path):
    content = {"state_dict": state(), "args": argparse.Namespace(lr=1)}
    torch.save(content, tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(ShapPruneError, match=r"argparse\.Namespace was not an allowed"):
        read_weights(tmp_path / "net.pth")


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_other_kinds_of_files(name, tmp_path):
    path = tmp_path / name
    with pytest.raises(ShapPruneError, match=f"there are no weights at {path}$"):
        read_weights(path)
    path.mkdir()
    with pytest.raises(ShapPruneError, match=f"there are no weights at {path}, which is a folder"):
        read_weights(path)
    path.rmdir()
    torch.jit.script(nn.Linear(2, 1)).save(os.fspath(path))
    with pytest.raises(ShapPruneError, match="it is a TorchScript archive"):
        read_weights(path)


def test_safetensors_that_were_cut_off(tmp_path):
    path = tmp_path / "net.safetensors"
    save_file(state(), path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ShapPruneError, match="it is damaged, or was not written or copied to its end"):
        read_weights(path)
