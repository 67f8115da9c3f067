"""Chains of the low-data protocol as the workflow makes them."""

from __future__ import annotations

import numpy as np
import pytest

from shapprune import score
from shapprune.core.files import read_json
from shapprune.data.prepared import DataInfo, ImageSet
from shapprune.networks.builders import build
from shapprune.workflow.stages import low_data
from shapprune.workflow.stages.run import Run
from shapprune.workflow.store.keys import Task
from shapprune.workflow.store.work import Work
from tests.toys import randomise


def test_a_chain_that_was_cut_off_goes_on_after_its_last_step(tmp_path, monkeypatch):
    model = randomise(build("lenet5", shape=(1, 28, 28), classes=10, widths=[4, 6, 8, 5]))
    shape, pixels = (1, 28, 28), np.random.default_rng(0).integers(0, 256, (60, 1, 28, 28), dtype=np.uint8)
    info = DataInfo("some", shape, 10, 60, 60, (0.3,), (0.3,))
    image_set = ImageSet(info, pixels, np.arange(60) % 10, pixels, np.arange(60) % 10)
    run = Run(model, {}, image_set, np.arange(9), "cpu", {"net": "small", "seed": 0}, memory_mb=64)
    names = {
        "net": "small",
        "seed": 0,
        "criterion": "taylor",
        "aggregate": "mean",
        "ratio": 0.5,
        "repair": "none",
        "trial": 1,
    }
    steps = {layer: f"chain/{layer}" for layer in ("conv1", "conv2", "fc1", "fc2")}
    scored = []

    def write(store, allowed):
        def count(game, *given, **options):
            if len(scored) == allowed:
                raise InterruptedError
            scored.append(game.layer)
            return score(game, *given, **options)

        monkeypatch.setattr(low_data, "score", count)
        task = lambda label: Task("prune_layers", {"of": label}).describe() | {"names": names}  # noqa: E731
        works = [
            Work(tmp_path / store, {each: task(each) for each in labels}) for labels in (["chain"], steps.values())
        ]
        scoring = {"site": "activation", "payoff": "loss", "precision": "fp32"}
        entry = {"method": "taylor", "trials": 1, "aggregates": ["mean"], "signed": False}
        low_data.write_chain(run, "chain", steps, tmp_path / store / "out", entry, 20, scoring, *works)

    write("whole", None)
    assert scored == ["fc2", "fc1", "conv2", "conv1"]
    scored.clear()
    with pytest.raises(InterruptedError):
        write("cut", 2)
    scored.clear()
    write("cut", None)
    assert scored == ["conv2", "conv1"]
    told = [read_json(tmp_path / store / "out" / "chain.json") for store in ("whole", "cut")]
    assert [step["removed"] for step in told[0]["steps"]] == [step["removed"] for step in told[1]["steps"]]
    assert told[0]["sha256"] == told[1]["sha256"]
