import argparse

import numpy as np
import pytest

from benchmarks import promise
from shapprune.data.prepared import DataInfo, ImageSet
from tests.toys import ConvNetwork, randomise


def pictures(count):
    return np.random.default_rng(count).integers(0, 256, (count, 1, 8, 8), np.uint8), np.arange(count) % 3


@pytest.fixture
def seen(monkeypatch):
    """How many images networks are compared on."""
    info = DataInfo("toy", (1, 8, 8), 3, 30, 20, (0.5,), (0.5,))
    image_set = ImageSet(info, *pictures(30), *pictures(20))
    model, counts, real = randomise(ConvNetwork()).eval(), [], promise.run
    monkeypatch.setattr(promise, "open_network", lambda name: (name, "fresh", model, image_set))
    monkeypatch.setattr(promise, "run", lambda network, x: (counts.append(len(x)), real(network, x))[1])
    return counts


def measured(rows=(), **changes):
    given = {"images": 8, "draws": 2, "budgets": [0.7], "sources": promise.SOURCES, "device": "cpu"} | changes
    return list(promise.measure("toy", argparse.Namespace(**given), rows))


def test_what_calibrated_does_not_measure(seen):
    rows = measured()
    assert [(row["draw"], row["calibrated_on"]) for row in rows] == [
        (0, "train"),
        (0, "test"),
        (1, "train"),
        (1, "test"),
    ]
    assert seen == [20, 20, 12, 12] * 2
    for row in rows:
        assert set(row) == set(promise.COLUMNS)
        assert 0 <= row["agreement_test"] <= 1
        assert (row["kept"] == "yes") == (row["agreement_low"] <= row["agreement_test"] <= row["agreement_high"])
    assert rows[1]["agreement_test"] * 12 == pytest.approx(round(rows[1]["agreement_test"] * 12))


def test_what_is_in_the_table_is_not_measured_again(seen):
    rows = measured()
    assert measured(rows) == []
    (more,) = measured(rows[:3])
    assert more == rows[3]
