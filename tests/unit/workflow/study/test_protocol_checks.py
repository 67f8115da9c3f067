"""Mistakes in the sections of what is done with scores and networks."""

from __future__ import annotations

import pytest

from tests.unit.workflow.study.mistakes import ESTIMATOR, told_in_one_sentence

METHOD = "budgets.methods.reconstruction"
TUNED = "selective_tuning"
PROTOCOL_MISTAKES = [
    # the changes, the key of the mistake, what its sentence must name: the value, and what is allowed
    ({ESTIMATOR: {"method": "permutatoin"}}, f"{ESTIMATOR}.method", "'permutatoin'", "'permutation'"),
    ({ESTIMATOR: {"method": "permutation", "sharde": True}}, f"{ESTIMATOR}.sharde", "permutation", "'shared'"),
    (
        {ESTIMATOR: {"method": "permutation", "over": {"permutation": [1]}}},
        f"{ESTIMATOR}.over.permutation",
        "permutation",
        "'permutations'",
    ),
    (
        {ESTIMATOR: {"method": "permutation", "over": {"permutations": [3, 0]}}},
        f"{ESTIMATOR}.over.permutations",
        "0",
        "at least 1",
    ),
    ({ESTIMATOR: {"method": "batchnorm-scale"}}, ESTIMATOR, "BatchNorm", "conv1 of lenet5"),
    ({"estimators.max_units": 100, ESTIMATOR: {"method": "exact"}}, ESTIMATOR, "exact", "20 units", "fc1 of lenet5"),
    ({"fine_tune.criteria": ["tailor"]}, "fine_tune.criteria", "'tailor'", "low_data.criteria", "'taylor'"),
    ({"fine_tune.ratios": [0.3]}, "fine_tune.ratios", "0.3", "low_data.ratios", "0.25, 0.5"),
    ({"fine_tune.trials": 4}, "fine_tune.trials", "4", "2", "low_data.trials"),
    ({"fine_tune.images": [0, 11001]}, "fine_tune.images", "11001", "11000 images"),
    ({"fine_tune.train.schedule": "step"}, "fine_tune.train.milestones", "empty", "'step'"),
    ({"low_data.repair": ["batchnorm"]}, "fine_tune.criteria", "low_data.repair", "'none'"),
    ({"untrained.criteria": ["tailor"]}, "untrained.criteria", "'tailor'", "in criteria", "'taylor'"),
    ({"untrained.images": 12001}, "untrained.images", "12001", "12000 training images"),
    ({"untrained.networks": {}}, "untrained.networks", "empty", "untrained.criteria"),
    (
        {"untrained.networks.lenet5": {"architecture": "mlp", "data": "digits"}},
        "untrained.networks.lenet5",
        "networks has that name",
    ),
    (
        {"untrained.networks.mlp-untrained.architecture": "mpl"},
        "untrained.networks.mlp-untrained.architecture",
        "'mpl'",
        "'mlp'",
    ),
    ({"compress.criteria": ["tailor"]}, "compress.criteria", "'tailor'", "in criteria", "'taylor'"),
    ({"compress.sizes": {}}, "compress.sizes", "empty", "compress.criteria"),
    (
        {"compress.sizes.half": {"widths": {"conv1": 11}}},
        "compress.sizes.half.widths.conv1",
        "11",
        "10 units",
        "lenet5",
    ),
    (
        {"compress.sizes.half": {"widths": {"conv3": 1}}},
        "compress.sizes.half.widths",
        "'conv3'",
        "lenet5",
        "conv1, conv2",
    ),
    ({"compress.sizes.half.skip": ["conv"]}, "compress.sizes.half.skip", "'conv'", "lenet5"),
    ({"compress.sizes.half.networks": ["lenet"]}, "compress.sizes.half.networks", "'lenet'", "'lenet5'"),
    ({f"{METHOD}.criterion": "reconstructoin"}, f"{METHOD}.criterion", "'reconstructoin'", "'reconstruction'"),
    ({f"{METHOD}.options": {"rigde": 1.0}}, f"{METHOD}.options.rigde", "reconstruction", "'ridge'"),
    ({f"{METHOD}.options": {"ridge": 0.0}}, f"{METHOD}.options.ridge", "0", "above 0"),
    (
        {METHOD: {"criterion": "rescored", "options": {"of": "shap"}}},
        f"{METHOD}.options.of",
        "'shap'",
    ),
    ({METHOD: {"criterion": "batchnorm-scale"}}, METHOD, "BatchNorm", "conv1 of lenet5", "another criterion"),
    ({METHOD: {"criterion": "exact"}}, METHOD, "exact", "20 units", "fc1 of lenet5", "another criterion"),
    ({"budgets.sizes": [0.5, 50]}, "budgets.sizes", "50 macs", "below 1"),
    ({"budgets.images": 11001}, "budgets.images", "11001", "11000 training images"),
    ({"budgets.test_images": 2001}, "budgets.test_images", "2001", "2000 test images"),
    ({"budgets.train": {"epochs": 2, "warmup": 2}}, "budgets.train.warmup", "2", "below the 2 epochs"),
    ({"deactivation.criteria": ["tailor"]}, "deactivation.criteria", "'tailor'", "in criteria", "'taylor'"),
    ({"deactivation.shares": [0.1, 0.005]}, "deactivation.shares", "0.005", "no unit", "lenet5", "100 at most"),
    ({"deactivation.test_images": 2001}, "deactivation.test_images", "2001", "2000 test images"),
    ({"quantisation.methods.gpqt": {}}, "quantisation.methods.gpqt.method", "'gpqt'", "'gptq'"),
    ({"quantisation.methods.round.in_turn": True}, "quantisation.methods.round.in_turn", "true", "'round'"),
    ({"quantisation.bits": [4, 5]}, "quantisation.bits", "5 bits", "4, 8"),
    ({"quantisation.images": 11001}, "quantisation.images", "11001", "11000 training images"),
    ({"quantisation.test_images": 2001}, "quantisation.test_images", "2001", "2000 test images"),
    ({TUNED: {"methods": ["tailor"]}}, f"{TUNED}.methods", "'tailor'", "random, full, lora", "'taylor'"),
    (
        {"criteria.full": {"method": "taylor"}, TUNED: {"methods": ["full"]}},
        *(f"{TUNED}.methods", "'full' is no criterion here", "rename it"),
    ),
    ({TUNED: {"data": {"lenet": "mnist"}}}, f"{TUNED}.data", "'lenet'", "'lenet5'"),
    ({TUNED: {"data": {"lenet5": "mnits"}}}, f"{TUNED}.data.lenet5", "'mnits'", "'mnist'"),
    (
        {TUNED: {"methods": ["full"], "data": {"lenet5": "cifar10"}}},
        f"{TUNED}.data.lenet5",
        "cifar10 has 10 classes or tokens in [3, 32, 32]",
        "10 in [1, 28, 28]",
    ),
    ({TUNED: {"methods": ["full"], "images": 11001}}, f"{TUNED}.images", "11001", "11000 training images"),
    ({TUNED: {"methods": ["full"], "test_images": 2001}}, f"{TUNED}.test_images", "2001", "2000 test images"),
    ({TUNED: {"train": {"epochs": 2, "warmup": 2}}}, f"{TUNED}.train.warmup", "2", "below the 2 epochs"),
    ({"probe": {"methods": ["lora"]}}, "probe.methods", "'lora'", "random, all"),
    ({"probe": {"methods": ["all"], "images": 11001}}, "probe.images", "11001", "11000 training images"),
]


@pytest.mark.parametrize("mistake", PROTOCOL_MISTAKES, ids=lambda mistake: mistake[1])
def test_a_mistake_in_a_protocol_is_told_in_one_sentence(default, mistake):
    told_in_one_sentence(default, *mistake)
