"""What a run would do, seen in dry-runs."""

from __future__ import annotations

import copy

import yaml

from shapprune.core.paths import REPOSITORY
from tests.study import STUDY, Workflow


def test_training_curves_are_drawn_of_networks_that_trained(tmp_path):
    study = copy.deepcopy(STUDY)
    study["networks"]["as-it-comes"] = study["networks"]["small"] | {"train": {"epochs": 0}}
    assert Workflow(tmp_path, study).planned("figures_all")["plot_training"] == 1


def test_large_networks_are_planned(tmp_path):
    study = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    recipe = study["networks"]["lenet5"]["train"]
    study["networks"] = {
        name: {"architecture": name, "data": "cifar10", "seeds": [0, 1], "train": recipe}
        for name in ("vgg16", "resnet20", "resnet56")
    }
    planned = Workflow(tmp_path, study).planned()
    assert planned["train_network"] == 6
    assert planned["score_layer"] == 2 * (15 + 9 + 27)
