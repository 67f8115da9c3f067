"""The layers of a network that are studied."""

from __future__ import annotations

from shapprune.workflow.study import config as study
from shapprune.workflow.study.layers import layers_of
from tests.unit.workflow.study.mistakes import NET, changed


def test_layers_are_in_forward_order(config):
    full = study.validate(changed(config, {f"{NET}.layers": ["fc1", "conv1"]}))
    assert list(layers_of(full["networks"]["lenet5"], full).items()) == [("conv1", 10), ("fc1", 100)]
