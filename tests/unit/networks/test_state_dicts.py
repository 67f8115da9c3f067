"""Tensors of a file under the names of a network, and loaded into it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune.core.errors import ShapPruneError
from shapprune.networks.state_dicts import fill, name_as


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Sequential(nn.Linear(3, 1)))


class Wrapped(nn.Module):
    """A network within another, by the attribute that parallel training uses too."""

    def __init__(self):
        super().__init__()
        self.module = network()


OWN = list(network().state_dict())


@pytest.mark.parametrize(
    "rename",
    [
        str,
        "module.{}".format,
        "_orig_mod.{}".format,
        "model.{}".format,
        "module._orig_mod.{}".format,
        "_orig_mod.module.{}".format,
        "model.net._orig_mod.{}".format,
        "student.{}".format,
        lambda name: name.replace("2.0", "2.module.0"),
        lambda name: name.replace("2.0", "2._orig_mod.0"),
    ],
)
@pytest.mark.parametrize("beside", [(), ("0.total_ops", "total_params")], ids=["", "counters"])
def test_prefixes_do_not_count(rename, beside):
    found = {rename(name): name for name in OWN} | {rename(name): name for name in beside}
    assert name_as(network(), found, "net.pth") == {name: name for name in OWN}


def test_what_lies_beside_the_network_is_left_out():
    found = {f"model.{name}": name for name in OWN} | {"criterion.weight": "", "n_averaged": ""}
    assert name_as(network(), found, "net.pth").keys() == set(OWN)


def test_beginnings_that_the_network_has_itself_stay():
    own = list(Wrapped().state_dict())
    for found in (own, [f"module.{name}" for name in own], OWN):
        assert set(name_as(Wrapped(), dict.fromkeys(found), "net.pth")) == set(own)


def test_counters_of_batches_need_not_be_there():
    found = {f"model.{name}": name for name in OWN if not name.endswith("num_batches_tracked")}
    assert set(OWN) - name_as(network(), found, "net.pth").keys() == {"1.num_batches_tracked"}


def test_of_several_networks_the_usual_one_is_taken():
    found = {f"{part}.{name}": part for part in ("model", "model_ema") for name in OWN}
    assert set(name_as(network(), found, "net.pth").values()) == {"model"}
    found = {f"{part}.{name}": part for part in ("student", "teacher") for name in OWN}
    with pytest.raises(ShapPruneError, match=r"net\.pth holds several such networks \(student, teacher\)"):
        name_as(network(), found, "net.pth")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model.0.weight": None}, r"it has no tensor 0\.weight"),
        ({"model.3.weight": torch.ones(1)}, r"the network has no tensor 3\.weight"),
        ({"model.0.weight": torch.ones(4, 2)}, r"0\.weight is \[4, 2\] in the file, but \[3, 2\] in the network"),
    ],
)
def test_another_architecture_is_told_by_the_networks_names(changed, message):
    found = {f"model.{name}": each for name, each in network().state_dict().items()} | changed
    state = name_as(network(), {name: each for name, each in found.items() if each is not None}, "net.pth")
    with pytest.raises(ShapPruneError, match=rf"net\.pth is of another architecture: {message}"):
        fill(network(), state, "net.pth")


class Checked(nn.Linear):
    """Refuses what it is given, as modules may that changed their form."""

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors):
        errors.append("the old form is not known")


def test_what_a_module_says_against_tensors_is_passed_on():
    with pytest.raises(ShapPruneError, match=r"net\.pth cannot be loaded into Checked: the old form is not known"):
        fill(Checked(2, 1), Checked(2, 1).state_dict(), "net.pth")
