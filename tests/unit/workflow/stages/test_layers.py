"""The layers of a network that are studied."""

from __future__ import annotations

import copy

from shapprune.workflow.stages.layers import layers_of
from shapprune.workflow.study import config as study
from tests.unit.workflow.study.study_keys import CONFIG


def test_layers_are_in_forward_order():
    config = copy.deepcopy(CONFIG)
    config["networks"]["one"]["layers"] = ["fc1", "conv1"]
    full = study.validate(config)
    assert list(layers_of(full["networks"]["one"], full).items()) == [("conv1", 4), ("fc1", 8)]
