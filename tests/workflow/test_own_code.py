"""A network and a data set of one's own, and what is said where they are wrong."""

from __future__ import annotations

import pandas as pd

from tests.workflow.own import OWN, own


def test_own_network_and_own_data(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    folder = tmp_path / "ein grüner Apfel's study"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "results").symlink_to(tmp_path / "elsewhere")
    sections = {
        "low_data": OWN["low_data"] | {"ratios": [0.5], "repair": ["none"], "trials": 1},
        "compress": {"criteria": ["weight-norm"], "sizes": {"half": {"ratio": 0.5}}, "train": {"epochs": 1}},
    }
    workflow = own(folder, undisturbed, **sections)
    workflow.run("results/tables/auc.csv", "prune_all", "compress_all")
    results = tmp_path / "elsewhere"
    assert set(pd.read_csv(results / "tables" / "auc.csv")["layer"]) == {"1", "all"}
    assert pd.read_csv(results / "good" / "seed0" / "low_data.csv")["units_left"].dropna().tolist() == [2]
    assert (results / "good" / "seed0" / "compressed" / "weight-norm" / "mean" / "half.safetensors").is_file()


def test_a_failing_job_says_why_in_a_sentence(tmp_path):
    done = own(tmp_path, datasets={"shades": "my_code:broken"})("--cores", "1")
    assert done.returncode != 0
    assert "error: data set 'shades' (my_code:broken) must return four arrays" in done.stdout
    assert "Traceback" not in done.stdout
