"""No batch has a single image, unless there is no other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune.networks.batches import in_batches
from shapprune.networks.recipe import Recipe
from shapprune.networks.training import fit
from tests.toys import images, labels


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [(9, 4, [4, 5]), (8, 4, [4, 4]), (7, 4, [4, 3]), (3, 1, [1, 1, 1]), (1, 4, [1]), (3, 2, [3]), (0, 4, [])],
)
def test_all_values_are_in_batches_of_at_least_two(count, size, sizes):
    values = torch.arange(count)
    found = in_batches(values, size)
    assert [len(each) for each in found if len(each)] == sizes
    assert torch.equal(torch.cat([*found]), values) if found else not count


def test_a_batchnorm_trains_on_any_number_of_images():
    network = nn.Sequential(nn.Flatten(), nn.Linear(18, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    x, y = images(7, (2, 3, 3)), labels(7)
    rows = fit(network, x, y, x, y, Recipe(epochs=2, batch=3, schedule="cosine"), progress=False)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[1]["lr"] == pytest.approx(rows[0]["lr"] / 2)  # half of the steps are taken


def test_what_is_done_to_a_batch_is_not_done_to_the_values():
    values = torch.arange(4)
    found = in_batches(values, 2)
    for each in found:
        each.zero_()
    assert values.tolist() == [0, 1, 2, 3]
    assert [each.tolist() for each in found] == [[0, 1], [2, 3]]
    assert [each.tolist() for each in found[1:]] == [[2, 3]]
