"""A network of tokens, and a text whose file changes."""

from __future__ import annotations

import json

import pandas as pd

from tests.workflow.own import own

TEXTS = {
    "datasets": {
        "fable": {"kind": "text", "source": "fable.txt", "length": 9},
        "numbers": {"kind": "text", "source": "my_code:numbers", "length": 9},
    },
    "networks": {
        name: {
            "architecture": "char_gpt",
            "options": {"width": 8, "depth": 1, "heads": 2, "head_dim": 4, "hidden": 6},
            "data": name,
            "layers": ["blocks.0.fc1"],
            "train": {"epochs": 3, "optimizer": "adam", "lr": 0.02},
        }
        for name in ("fable", "numbers")
    },
    "oracle": {"images": 20, "max_units": 1},
    "curves": {"images": 10},
    "low_data": {"images": 20, "ratios": [0.5]},
    "budgets": {"sizes": [0.8], "images": 30, "trials": 1, "methods": {"taylor": {"distil": 10}}},
}
FABLE = "the fox and the crow and the cheese. "
NUMBERS = "\ndef numbers():\n    return np.arange(1500) % 5, np.arange(300) % 5\n"


def test_networks_of_a_text_are_trained_and_scored_and_follow_its_file(tmp_path):
    workflow = own(tmp_path, **TEXTS)
    with (tmp_path / "my_code.py").open("a") as file:
        file.write(NUMBERS)
    (tmp_path / "fable.txt").write_text(FABLE * 40)
    workflow.run("score_all", "budgets_all")
    for name, tokens in (("fable", len(set(FABLE))), ("numbers", 5)):
        facts = json.loads((tmp_path / "results" / name / "seed0" / "model.json").read_text())
        assert (facts["data"]["shape"], facts["data"]["classes"]) == ([9], tokens)
        assert facts["macs"] == 9 * (8 * 24 + 8 * 8 + 2 * 8 * 6 + 8 * tokens)
        losses = pd.read_csv(tmp_path / "results" / name / "seed0" / "training.csv")["validation_loss"]
        assert losses.is_monotonic_decreasing
        budget = tmp_path / "results" / name / "seed0" / "budgets" / "taylor" / "macs0.8"
        fitted = json.loads((budget / "trial0.json").read_text())
        assert 0.5 < fitted["test_agreement"] <= 1
        assert fitted["macs"] <= 0.8 * facts["macs"]
        assert fitted["heads"] == {"blocks.0.attn": {"num_heads": 1}}
    assert not workflow.planned("score_all", "budgets_all")
    (tmp_path / "fable.txt").write_text(FABLE[::-1] * 40)
    assert workflow.planned("train_all") == {"prepare_data": 1, "train_network": 1, "train_all": 1}
