"""Mistakes that concern several keys at once, or the data sets, networks and criteria there are."""

from __future__ import annotations

import pytest

from shapprune.workflow.stages.layers import layers_of
from shapprune.workflow.study import config as study
from tests.unit.workflow.study.mistakes import (
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


def test_branches_of_untrained_networks_cannot_leave(default):
    fresh = {"architecture": "resnet20", "data": "cifar10", "layers": ["branches"]}
    found = problems(changed(default, {"untrained.networks.fresh": fresh, "untrained.criteria": ["random"]}))
    assert found == ("untrained.networks.fresh.layers: 'branches' loses no units, so nothing is there to prune",)


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
    layers = {"features.3": 12, "conv1": 6, "trunk_output.block1.block1-0.f.a.0": 4}
    own = OWN | {"data": "mine", "layers": layers, "options": {"anything": [1, {"goes": True}]}}
    changes = {"networks": {"own": own}, "datasets": {"mine": "my.data:load"}, "curves.images": 10**6}
    full = study.validate(changed(config, changes))  # of data of one's own, sizes are not known
    assert list(layers_of(full["networks"]["own"], full).items()) == list(layers.items())


ON_TEST = {"low_data.scored_on": "test"}
TEXT = {"kind": "text", "source": "tiny-shakespeare", "length": 128}
# The network of the default study made one of tokens, and what does not go with it left out.
GPT = {
    f"{NET}.architecture": "char_gpt",
    f"{NET}.data": "tiny-shakespeare",
    f"{NET}.options": {"hidden": 8},
    f"{NET}.train.augment": [],
    "curves.images": 500,
    "oracle.max_units": 2,
}
COMPRESS = {"criteria": ["taylor"], "sizes": {"half": {"ratio": 0.5}}}
BUDGETS = {"methods": {"taylor": {}}, "images": 20, "test_images": 20}
FLIPS = {"epochs": 1, "augment": ["flip"]}

MISTAKES = [
    # the changes, the key of the mistake, what its sentence must name: the value, and what is allowed
    ({"networks": {}}, "networks", "empty"),
    ({f"{NET}.data": "fashion-minst"}, f"{NET}.data", "'fashion-minst'", "'fashion-mnist'"),
    ({f"{NET}.data": "digits"} | SMALL, f"{NET}.data", "lenet5", "16 x 16", "1 x 8 x 8"),
    ({f"{NET}.architecture": "lenet"}, f"{NET}.architecture", "'lenet'", "'lenet5'", "fmnist_cnn"),
    ({f"{NET}.options": {"width": 3}}, f"{NET}.options.width", "lenet5", "'width'", "'widths'"),
    ({f"{NET}.options": {"widths": [3]}}, f"{NET}.options.widths", "[3]", "list of 4"),
    (
        {f"{NET}.architecture": "mlp", f"{NET}.options": {"width": 9, "widths": [3, 4]}},
        f"{NET}.options",
        "mlp",
        "width",
        "widths",
    ),
    ({f"{NET}.layers": ["conv1", "conv9"]}, f"{NET}.layers", "'conv9'", "lenet5", "conv1, conv2"),
    ({f"{NET}.layers": {"conv1": 10}}, f"{NET}.layers", "lenet5", "[conv1]"),
    ({f"{NET}.layers": ["conv1", "blocks"]}, f"{NET}.layers", "lenet5 has no blocks that can be skipped"),
    (
        {"networks.own": OWN | {"layers": {"a:keys": 2}}},
        "networks.own.layers.a:keys",
        "'a:keys'",
        "block.attn:queries",
    ),
    ({"criteria.block-influence": {}}, "criteria.block-influence", "scores residual branches", "conv1 of lenet5"),
    (
        {"networks.own": OWN | {"layers": {"branches": 3}}, "criteria": {"taylor": {}}, "estimators.compared": {}},
        "criteria.taylor",
        "taylor scores units of a layer, which branches of own has not",
    ),
    (
        {"networks.own": OWN | {"layers": {"blocks": 3}}, "criteria": {"random": {}}, "estimators.compared": {}}
        | {"compress": COMPRESS | {"criteria": ["random"]}},
        "compress.sizes.half.networks",
        "none of the 'layers' of own loses units",
    ),
    ({"networks.own": OWN}, "networks.own.layers", "my_package.models:build", "layers: {conv1: 20"),
    ({"networks.own": OWN | {"layers": ["conv1"]}}, "networks.own.layers", "my_package.models:build", "units"),
    ({f"{NET}.train.schedule": "step"}, f"{NET}.train.milestones", "empty", "'step'"),
    ({f"{NET}.train.milestones": [12]}, f"{NET}.train.milestones", "12", "10 epochs"),
    ({f"{NET}.train.warmup": 20}, f"{NET}.train.warmup", "20", "10 epochs"),
    ({f"{NET}.train.momentum": 0, f"{NET}.train.nesterov": True}, f"{NET}.train.nesterov", "true", "momentum above 0"),
    ({"datasets": {"mnist": "my.data:load"}}, "datasets.mnist", "comes with the package"),
    ({"datasets": {"words": TEXT | {"source": "gone.txt"}}}, "datasets.words.source", "no file 'gone.txt' in"),
    ({"datasets": {"words": TEXT | {"source": "../a.txt"}}}, "datasets.words.source", "'../a.txt' leads out"),
    ({"datasets": {"words": TEXT | {"length": 200000}}}, "datasets.words", "111540 tokens", "takes 200001", "tenth"),
    ({"datasets": {"words": TEXT | {"kind": "txt"}}}, "datasets.words.kind", "'txt'", "'text'"),
    ({"datasets": {"words": TEXT | {"tokenizer": "bytes"}}}, "datasets.words.tokenizer", "'bytes'", "characters"),
    ({"datasets": {"words": {"kind": "text"}}}, "datasets.words.source", "missing"),
    ({"datasets": {"words": {"kind": "text"}}, f"{NET}.data": "words"}, "datasets.words.source", "missing"),
    ({"datasets": {"words": 5}, f"{NET}.data": "words"}, "datasets.words", "5 is not text or a mapping"),
    ({"datasets": {"words": TEXT | {"lenght": 9}}}, "datasets.words.lenght", "unknown key", "'length'"),
    (
        GPT | {f"{NET}.architecture": "mlp", f"{NET}.options": {}},
        f"{NET}.data",
        "mlp takes images",
        "tiny-shakespeare has sequences of tokens",
    ),
    (
        GPT
        | {"datasets": {"words": TEXT | {"source": "a:b"}}, f"{NET}.data": "words", f"{NET}.architecture": "lenet5"}
        | {f"{NET}.options": {}},
        f"{NET}.data",
        "lenet5 takes images, but words has sequences of tokens",
    ),
    (GPT | {f"{NET}.data": "mnist"}, f"{NET}.data", "char_gpt takes sequences of tokens, but mnist has images"),
    (GPT | {f"{NET}.train.augment": ["crop"]}, f"{NET}.train.augment", "crop", "lenet5 takes tokens"),
    (GPT | {"compress": COMPRESS | {"train": FLIPS}}, "compress.train.augment", "flip", "lenet5 takes tokens"),
    (
        GPT | {"selective_tuning": {"methods": ["random"], "images": 20, "test_images": 20, "train": FLIPS}},
        *("selective_tuning.train.augment", "flip", "lenet5 takes tokens"),
    ),
    (GPT | {"budgets": BUDGETS | {"train": FLIPS}}, "budgets.train.augment", "flip", "lenet5 takes tokens"),
    (
        GPT | {"datasets": {"words": TEXT}, f"{NET}.data": "words", "splits.validation": 7781},
        "splits.validation",
        "7781",
        "words has 7781",
    ),
    ({"splits.validation": 12000}, "splits.validation", "12000", "fashion-mnist-sample"),
    ({"scoring.images": 5000}, "scoring.images", "5000", "1000 validation images"),
    ({"scoring.payoff": "accuracy"}, "scoring.payoff", "'accuracy'", "sensitivity", "taylor"),
    ({"criteria.tailor": {}}, "criteria.tailor.method", "'tailor'", "'taylor'"),
    ({"criteria.mine": {"method": "permutations"}}, "criteria.mine.method", "'permutations'", "'permutation'"),
    ({"criteria.weight-l1.nrom": "l1"}, "criteria.weight-l1.nrom", "weight-norm", "'norm'"),
    ({"criteria.weight-l1.norm": "l3"}, "criteria.weight-l1.norm", "'l3'", "l1, l2"),
    ({"criteria.shapley.permutations": 0}, "criteria.shapley.permutations", "0", "at least 1"),
    ({"criteria.shapley.permutations": 2.5}, "criteria.shapley.permutations", "2.5", "whole number"),
    ({"criteria.exact": {}}, "criteria.exact", "exact", "20 units", "fc1 of lenet5", "fc2 of lenet5"),
    (
        {"criteria.slimming": {"method": "batchnorm-scale"}},
        "criteria.slimming",
        "BatchNorm",
        "conv1 of lenet5",
        "fc2 of lenet5",
    ),
    ({"criteria.again": {"method": "rescored", "of": "exact"}}, "criteria.again", "exact", "20 units", "fc1 of lenet5"),
    ({"criteria.again": {"method": "rescored", "of": "exat"}}, "criteria.again.of", "'exat'", "'exact'"),
    ({"criteria.grasp": {}, "scoring.payoff": "margin"}, "scoring.payoff", "'margin'", "grasp", "loss"),
    ({"criteria.grasp": {"temperature": 0}}, "criteria.grasp.temperature", "0", "above 0"),
    ({"curves.images": 2001}, "curves.images", "2001", "2000 test images", "fashion-mnist-sample"),
    ({"oracle.images": 1001}, "oracle.images", "1001", "1000 validation images"),
    ({"low_data.images": 11001}, "low_data.images", "11001", "11000 images", "fashion-mnist-sample"),
    ({"low_data.test_images": 2001}, "low_data.test_images", "2001", "2000 test images"),
    ({**ON_TEST, "low_data.images": 2000}, "low_data.images", "2000"),
    ({**ON_TEST, "low_data.test_images": 1901}, "low_data.test_images", "1901", "1900 test images"),
    ({"low_data.skip": ["conv3"]}, "low_data.skip", "'conv3'", "conv1, conv2"),
    ({"low_data.criteria": ["tailor"]}, "low_data.criteria", "'tailor'", "in criteria", "'taylor'"),
    (WEIGHTS | {f"{NET}.weights": "nowhere.safetensors"}, f"{NET}.weights", "'nowhere.safetensors'"),
    (WEIGHTS | {f"{NET}.weights": "../w.safetensors"}, f"{NET}.weights", "'../w.safetensors'"),
    (
        WEIGHTS | {f"{NET}.weights": {"url": "https://x.org/w", "sha256": SHA256}, f"{NET}.seeds": [0, 1]},
        f"{NET}.seeds",
        "[0, 1]",
        "'weights'",
    ),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake[1])
def test_a_mistake_is_told_in_one_sentence(config, mistake):
    told_in_one_sentence(config, *mistake)
