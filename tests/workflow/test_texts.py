"""A network of tokens, and a text whose file changes."""

from __future__ import annotations

import json

import pandas as pd

from tests.workflow.own import own

TEXTS = {
    "datasets": {
        "fable": {"kind": "text", "source": "fable.txt", "length": 9},
    },
    "networks": {
        "tiny": {
            "architecture": "char_gpt",
            "options": {"width": 8, "depth": 1, "heads": 2, "head_dim": 4, "hidden": 6},
            "data": "fable",
            "layers": ["blocks.0.fc1"],
            "train": {"epochs": 3, "optimizer": "adam", "lr": 0.02},
        }
    },
    "oracle": {"images": 20, "max_units": 1},
    "curves": {"images": 10},
    "low_data": {"images": 20, "ratios": [0.5]},
    "budgets": {
        "sizes": [0.8],
        "images": 30,
        "trials": 1,
        "methods": {"taylor": {"distil": 10}},
        "train": {"epochs": 1, "optimizer": "adam", "lr": 0.01},
    },
}
FABLE = "the fox and the crow and the cheese. "


def test_a_network_of_a_text_is_trained_and_scored_and_follows_its_file(tmp_path):
    workflow = own(tmp_path, **TEXTS)
    (tmp_path / "fable.txt").write_text(FABLE * 40)
    workflow.run("score_all", "budgets_all")
    results, tokens = tmp_path / "results" / "tiny" / "seed0", len(set(FABLE))
    facts = json.loads((results / "model.json").read_text())
    assert (facts["data"]["shape"], facts["data"]["classes"]) == ([9], tokens)
    assert facts["macs"] == 9 * (8 * 24 + 8 * 8 + 2 * 8 * 6 + 8 * tokens)
    assert pd.read_csv(results / "training.csv")["validation_loss"].is_monotonic_decreasing
    fitted = json.loads((results / "budgets" / "taylor" / "macs0.8" / "trial0.json").read_text())
    assert 0.5 < fitted["test_agreement"] <= 1
    assert fitted["macs"] <= 0.8 * facts["macs"]
    assert fitted["heads"] == {"blocks.0.attn": {"num_heads": 1}}
    retrained = json.loads((results / "retrained" / "taylor" / "macs0.8" / "trial0.json").read_text())
    assert (retrained["loss_before"], retrained["macs"]) == (fitted["loss"], fitted["macs"])
    assert len(retrained["history"]) == 1
    assert retrained["heads"] == fitted["heads"]
    assert not workflow.planned("score_all", "budgets_all")
    (tmp_path / "fable.txt").write_text(FABLE[::-1] * 40)
    assert workflow.planned("train_all") == {"prepare_data": 1, "train_network": 1, "train_all": 1}
