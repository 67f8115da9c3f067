"""Mistakes that concern several keys at once, or the data sets, networks and criteria there are."""

from __future__ import annotations

import pytest

from shapprune.workflow.study import config as study
from shapprune.workflow.study.layers import layers_of
from tests.unit.workflow.study.mistakes import (
    ESTIMATOR,
    NET,
    OWN,
    SHA256,
    SMALL,
    WEIGHTS,
    changed,
    problems,
    told_in_one_sentence,
)


def test_all_mistakes_are_told_at_once(config):
    wrong = {
        f"{NET}.layers": ["conv8", "conv9"],
        f"{NET}.train.lr": "high",
        "splits": None,
        "scoring.images": 1001,
        "low_data.ratios": [2, 0.5, -1],
        "low_data.criteria": ["shap"],
        "criteria.taylor.sign": True,
    }
    found = problems(changed(config, wrong))
    assert sorted(each.partition(": ")[0] for each in found) == sorted(
        [
            *(f"{NET}.layers", f"{NET}.layers", f"{NET}.train.lr", "splits", "scoring.images"),
            *("low_data.ratios[0]", "low_data.ratios[2]", "low_data.criteria", "criteria.taylor.sign"),
        ]
    )


def test_criteria_of_untrained_networks_must_fit_them_too(config):
    vgg = {"networks": {"vgg": {"architecture": "vgg16", "data": "cifar10", "train": {"epochs": 1}}}}
    mlp = {"mlp": {"architecture": "mlp", "data": "mnist"}}
    vgg["networks"]["vgg"]["layers"] = ["features.0", "features.3"]
    vgg["criteria"] = {"batchnorm-scale": {}, "random": {}}
    study.validate(vgg | {"untrained": {"networks": mlp, "criteria": ["random"]}})
    (found,) = problems(vgg | {"untrained": {"networks": mlp, "criteria": ["batchnorm-scale"]}})
    assert found.startswith("criteria.batchnorm-scale: ")
    assert "none follows fc1 of mlp, fc2 of mlp; choose other 'layers'" in found


def test_what_follows_from_a_mistake_is_not_told(config):
    # Which layers there are, which options a method takes and how many images are held back is not known here.
    wrong = {
        f"{NET}.architecture": "lenet6",
        f"{NET}.layers": ["conv9"],
        "low_data.skip": ["conv1"],
        "criteria.mine": {"method": 4},
        "low_data.criteria": ["mine"],
        "splits.validation": "many",
    }
    found = [each.partition(": ")[0] for each in problems(changed(config, wrong))]
    assert sorted(found) == ["criteria.mine.method", f"{NET}.architecture", "splits.validation"]


def test_weights_instead_of_a_recipe(config, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.touch()
    for weights in (str(path), {"url": "https://example.org/w.safetensors", "sha256": SHA256}):
        full = study.validate(changed(config, WEIGHTS | {f"{NET}.weights": weights}))
        assert full["networks"]["lenet5"]["weights"] == weights
        assert "train" not in full["networks"]["lenet5"]


def test_own_architecture_and_own_data(config):
    layers = {"features.3": 12, "conv1": 6}
    own = OWN | {"data": "mine", "layers": layers, "options": {"anything": [1, {"goes": True}]}}
    changes = {"networks": {"own": own}, "datasets": {"mine": "my.data:load"}, "curves.images": 10**6}
    full = study.validate(changed(config, changes))  # of data of one's own, sizes are not known
    assert list(layers_of(full["networks"]["own"], full).items()) == list(layers.items())


MISTAKES = [
    # the changes, the key of the mistake, what its sentence must say
    ({"networks": {}}, "networks", "is empty"),
    (
        {f"{NET}.data": "fashion-minst"},
        f"{NET}.data",
        "unknown data set 'fashion-minst'; did you mean 'fashion-mnist'?",
    ),
    ({f"{NET}.data": "digits"} | SMALL, f"{NET}.data", "lenet5 takes images at least 16 x 16 pixels, not 1 x 8 x 8"),
    ({f"{NET}.architecture": "lenet"}, f"{NET}.architecture", "'lenet'; did you mean 'lenet5'? allowed: fmnist_cnn"),
    (
        {f"{NET}.options": {"width": 3}},
        f"{NET}.options.width",
        "unknown option of lenet5 'width'; did you mean 'widths'",
    ),
    ({f"{NET}.options": {"widths": [3]}}, f"{NET}.options.widths", "[3] is not a list of 4"),
    (
        {f"{NET}.architecture": "mlp", f"{NET}.options": {"width": 9, "widths": [3, 4]}},
        f"{NET}.options",
        "either width or widths, not both",
    ),
    ({f"{NET}.layers": ["conv1", "conv9"]}, f"{NET}.layers", "'conv9' is not a layer of lenet5; did you mean 'conv"),
    (
        {f"{NET}.layers": {"conv1": 10}},
        f"{NET}.layers",
        "the units of lenet5 are known; list only the names, as [conv1]",
    ),
    ({"networks.own": OWN}, "networks.own.layers", "list them with their units, e.g. layers: {conv1: 20"),
    ({"networks.own": OWN | {"layers": ["conv1"]}}, "networks.own.layers", "list them with their units"),
    ({f"{NET}.train.schedule": "step"}, f"{NET}.train.milestones", "the schedule 'step' needs at least one"),
    ({f"{NET}.train.milestones": [12]}, f"{NET}.train.milestones", "12 is not below the 12 epochs"),
    ({f"{NET}.train.warmup": 20}, f"{NET}.train.warmup", "20 is not below the 12 epochs"),
    ({f"{NET}.train.momentum": 0, f"{NET}.train.nesterov": True}, f"{NET}.train.nesterov", "needs a momentum above 0"),
    ({"datasets": {"mnist": "my.data:load"}}, "datasets.mnist", "comes with the package"),
    ({"splits.validation": 12000}, "splits.validation", "12000 leaves no image to train on, fashion-mnist-sample"),
    ({"scoring.images": 5000}, "scoring.images", "5000 is more than the 1000 validation images"),
    (
        {"scoring.payoff": "accuracy"},
        "scoring.payoff",
        "has no gradient, which is needed by sensitivity of criteria, taylor",
    ),
    ({"criteria.tailor": {}}, "criteria.tailor.method", "unknown criterion 'tailor'; did you mean 'taylor'?"),
    ({"criteria.mine": {"method": "permutations"}}, "criteria.mine.method", "did you mean 'permutation'?"),
    (
        {"criteria.weight-l1.nrom": "l1"},
        "criteria.weight-l1.nrom",
        "unknown option of weight-norm; did you mean 'norm'?",
    ),
    ({"criteria.weight-l1.norm": "l3"}, "criteria.weight-l1.norm", "'l3' is unknown; allowed: l1, l2"),
    ({"criteria.shapley.permutations": 0}, "criteria.shapley.permutations", "0 is not at least 1"),
    ({"criteria.shapley.permutations": 2.5}, "criteria.shapley.permutations", "2.5 is not a whole number"),
    ({"criteria.exact": {}}, "criteria.exact", "at most 20 units, but more are in fc1 of lenet5, fc2 of lenet5"),
    (
        {"criteria.slimming": {"method": "batchnorm-scale"}},
        "criteria.slimming",
        "batchnorm-scale needs a BatchNorm, but none follows conv1 of lenet5, conv2 of lenet5, fc1 of lenet5, fc2 of",
    ),
    (
        {"criteria.again": {"method": "rescored", "of": "exact"}},
        "criteria.again",
        "exact takes at most 20 units, but more are in fc1 of lenet5",
    ),
    ({"criteria.again": {"method": "rescored", "of": "exat"}}, "criteria.again.of", "did you mean 'exact'?"),
    (
        {"criteria.grasp": {}, "scoring.payoff": "margin"},
        "scoring.payoff",
        "'margin' is not what grasp of criteria is defined for; allowed: loss",
    ),
    ({"criteria.grasp": {"temperature": 0}}, "criteria.grasp.temperature", "0 is not above 0"),
    ({"curves.images": 2001}, "curves.images", "2001 is more than the 2000 test images of fashion-mnist-sample"),
    ({"oracle.images": 1001}, "oracle.images", "1001 is more than the 1000 validation images"),
    ({"low_data.images": 2000}, "low_data.images", "2000 leaves no test image to evaluate on"),
    ({"low_data.test_images": 1901}, "low_data.test_images", "1901 is more than the 1900 test images of fashion-mnist"),
    ({"low_data.skip": ["conv3"]}, "low_data.skip", "'conv3' is a studied layer of no network; did you mean 'conv"),
    ({"low_data.criteria": ["tailor"]}, "low_data.criteria", "'tailor' is not in criteria; did you mean 'taylor'?"),
    (WEIGHTS | {f"{NET}.weights": "nowhere.safetensors"}, f"{NET}.weights", "there is no file 'nowhere.safetensors'"),
    (WEIGHTS | {f"{NET}.weights": "../w.safetensors"}, f"{NET}.weights", "leads out of the project"),
    (
        WEIGHTS | {f"{NET}.weights": {"url": "https://x.org/w", "sha256": SHA256}, f"{NET}.seeds": [0, 1]},
        f"{NET}.seeds",
        "[0, 1] are several",
    ),
]


@pytest.mark.parametrize(
    ("changes", "key", "fragment"), MISTAKES, ids=lambda each: each if isinstance(each, str) else ""
)
def test_a_mistake_is_told_in_one_sentence(config, changes, key, fragment):
    told_in_one_sentence(config, changes, key, fragment)


PROTOCOL_MISTAKES = [
    # the changes, the key of the mistake, what its sentence must say
    ({ESTIMATOR: {"method": "permutatoin"}}, f"{ESTIMATOR}.method", "did you mean 'permutation'?"),
    ({ESTIMATOR: {"method": "permutation", "sharde": True}}, f"{ESTIMATOR}.sharde", "did you mean 'shared'?"),
    (
        {ESTIMATOR: {"method": "permutation", "over": {"permutation": [1]}}},
        f"{ESTIMATOR}.over.permutation",
        "unknown option of permutation; did you mean 'permutations'?",
    ),
    (
        {ESTIMATOR: {"method": "permutation", "over": {"permutations": [3, 0]}}},
        f"{ESTIMATOR}.over.permutations",
        "0 is not at least 1",
    ),
    (
        {ESTIMATOR: {"method": "batchnorm-scale"}},
        ESTIMATOR,
        "batchnorm-scale needs a BatchNorm, but none follows conv1 of lenet5; choose",
    ),
    ({"estimators.max_units": 100, ESTIMATOR: {"method": "exact"}}, ESTIMATOR, "but more are in fc1 of lenet5, fc2"),
    ({"fine_tune.criteria": ["tailor"]}, "fine_tune.criteria", "'tailor' is not in low_data.criteria; did you mean"),
    ({"fine_tune.ratios": [0.3]}, "fine_tune.ratios", "0.3 is not one of low_data.ratios: 0.25, 0.5"),
    ({"fine_tune.trials": 4}, "fine_tune.trials", "4 is more than the 3 of low_data.trials"),
    ({"fine_tune.images": [0, 11001]}, "fine_tune.images", "11001 is more than the 11000 images"),
    ({"fine_tune.train.schedule": "step"}, "fine_tune.train.milestones", "the schedule 'step' needs at least one"),
    ({"low_data.repair": ["batchnorm"]}, "fine_tune.criteria", "low_data.repair has no 'none'"),
    ({"untrained.criteria": ["tailor"]}, "untrained.criteria", "'tailor' is not in criteria; did you mean 'taylor'?"),
    ({"untrained.images": 12001}, "untrained.images", "12001 is more than the 12000 training images"),
    ({"untrained.networks": {}}, "untrained.networks", "is empty, but untrained.criteria is not"),
    (
        {"untrained.networks.lenet5": {"architecture": "mlp", "data": "digits"}},
        "untrained.networks.lenet5",
        "one of networks has that name",
    ),
    (
        {"untrained.networks.mlp-untrained.architecture": "mpl"},
        "untrained.networks.mlp-untrained.architecture",
        "did you mean 'mlp'?",
    ),
    ({"compress.criteria": ["tailor"]}, "compress.criteria", "'tailor' is not in criteria; did you mean 'taylor'?"),
    ({"compress.sizes": {}}, "compress.sizes", "is empty, but compress.criteria is not"),
    (
        {"compress.sizes.half": {"widths": {"conv1": 11}}},
        "compress.sizes.half.widths.conv1",
        "11 is more than the 10 units it has in lenet5",
    ),
    (
        {"compress.sizes.half": {"widths": {"conv3": 1}}},
        "compress.sizes.half.widths",
        "'conv3' is not a studied layer of lenet5; did you mean 'conv",
    ),
    ({"compress.sizes.half.skip": ["conv"]}, "compress.sizes.half.skip", "'conv' is not a studied layer of lenet5"),
    ({"compress.sizes.half.networks": ["lenet"]}, "compress.sizes.half.networks", "did you mean 'lenet5'?"),
]


@pytest.mark.parametrize(
    ("changes", "key", "fragment"), PROTOCOL_MISTAKES, ids=lambda each: each if isinstance(each, str) else ""
)
def test_a_mistake_in_a_protocol_is_told_in_one_sentence(default, changes, key, fragment):
    told_in_one_sentence(default, changes, key, fragment)
