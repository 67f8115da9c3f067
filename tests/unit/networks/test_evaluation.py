"""Evaluation, whatever the batch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shapprune.networks.evaluation import evaluate
from tests.toys import SqueezingNetwork, images, labels
from tests.unit.networks.test_training import VALIDATION, make_model


def test_evaluation_is_the_mean_over_images_whatever_the_batch():
    model = make_model()
    images, labels = VALIDATION
    model.eval()
    with torch.no_grad():
        outputs = model(images)
    model.train()
    statistics = model[1].running_mean.clone()
    for batch in (7, 100, 500):
        loss, accuracy = evaluate(model, images, labels, batch)
        # Sums of float32 losses in another order differ in the seventh digit.
        assert loss == pytest.approx(float(F.cross_entropy(outputs, labels)), rel=1e-5)
        assert accuracy == float((outputs.argmax(1) == labels).double().mean())
    assert model.training
    assert torch.equal(statistics, model[1].running_mean)


def test_a_network_that_squeezes_is_measured_on_any_number_of_images():
    network, x, y = SqueezingNetwork(), images(7, (2, 5, 5)), labels(7)
    whole = evaluate(network, x, y, batch=7)
    for batch in (2, 3, 6):
        assert evaluate(network, x, y, batch=batch) == pytest.approx(whole, rel=1e-6)


def test_images_are_left_alone_by_a_network_that_changes_its_inputs():
    network, x = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(50, 3)), images(7, (2, 5, 5))
    evaluate(network, x, labels(7))
    assert torch.equal(x, images(7, (2, 5, 5)))
