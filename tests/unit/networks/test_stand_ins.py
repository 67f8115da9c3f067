"""What stands where modules were: sizes, structure, and how it is kept."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError
from shapprune.networks.stand_ins import StandIn, put_stand_in, stand_ins_of, zeros_like


@pytest.mark.parametrize(
    ("given", "put_out", "elsewhere"),
    [
        ((2, 4, 8, 8), (2, 4, 8, 8), ((3, 4, 5, 7), (3, 4, 5, 7))),
        ((2, 4, 8, 8), (2, 6, 4, 4), ((3, 4, 9, 6), (3, 6, 5, 3))),  # a stride of 2, padded
        ((2, 4, 7, 7), (2, 8, 4, 4), ((3, 4, 8, 5), (3, 8, 4, 3))),
        ((2, 9, 4), (2, 9, 6), ((1, 5, 4), (1, 5, 6))),
        ((2, 4, 5, 5), (2, 4, 10, 10), ((1, 4, 3, 3), (1, 4, 10, 10))),  # no rule is known for what grows
    ],
)
def test_zeros_of_the_size_that_a_module_had(given, put_out, elsewhere):
    stand_in = zeros_like(torch.rand(given), torch.rand(put_out), 0)
    assert tuple(stand_in(torch.rand(given)).shape) == put_out
    assert tuple(stand_in(torch.rand(elsewhere[0])).shape) == elsewhere[1]
    assert not stand_in(torch.rand(given)).any()
    again = StandIn(**json.loads(json.dumps(stand_in.facts())))
    assert again.facts() == stand_in.facts()


def test_it_takes_what_the_module_took_and_gives_what_that_gave():
    x = torch.rand(2, 3)
    assert StandIn()(x, None, flag=True) is x
    assert StandIn(items=2)(states=x, mask=None) == (x, None)
    zeros, none = StandIn(True, 2)(x)
    assert (zeros.shape, zeros.any().item(), none) == (x.shape, False, None)
    assert (repr(StandIn(True)), repr(StandIn())) == ("StandIn(zeros)", "StandIn(input)")


def test_sizes_without_a_rule_are_refused():
    with pytest.raises(ShapPruneError, match=r"it makes \(2, 3\) of \(2, 3, 4\), which has no simple stand-in"):
        zeros_like(torch.rand(2, 3, 4), torch.rand(2, 3), 0)


def test_it_takes_the_place_and_the_mode_of_a_module():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout())).train()
    model[1].eval()
    put_stand_in(model, "1.0", StandIn())
    assert (model.training, model[1][0].training) == (True, False)
    assert stand_ins_of(model) == {"1.0": StandIn().facts()}
