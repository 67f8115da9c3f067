"""Tables of a study, put together from the files of its jobs."""

from __future__ import annotations

import pandas as pd
import pytest

from shapprune.core.files import write_json
from shapprune.core.tables import write_table
from shapprune.workflow.computing import collect
from shapprune.workflow.stages.registry import TABLES


def test_every_kind_of_table_can_be_made():
    assert {table.kind for table in TABLES.values()} == collect.MAKERS.keys()


@pytest.mark.parametrize("kind", collect.MAKERS)
def test_without_results_there_is_a_table_without_rows(kind):
    made = collect.MAKERS[kind]([], ("net", "network.data"), {})
    assert list(made) == ["net", "data"] if kind == "manifests" else ["net", "network.data"]
    assert made.empty


def test_manifests_are_rows_and_nested_facts_columns(tmp_path):
    write_json(tmp_path / "model.json", {"net": "one", "network": {"data": "digits"}, "more": 1})
    for name in ("b", "a"):
        write_json(tmp_path / "folder" / "deep" / f"{name}.json", {"net": name, "network": {"data": "mnist"}})
    paths = [str(tmp_path / "model.json"), str(tmp_path / "folder")]
    made = collect.manifests(paths, ("net", "network.data"), {})
    assert made.to_dict("list") == {"net": ["one", "a", "b"], "data": ["digits", "mnist", "mnist"]}


def test_areas_are_of_each_layer_and_of_all(tmp_path):
    order = {"net": "one", "seed": 0, "criterion": "taylor", "aggregate": "mean", "trial": 0}
    for layer, units, losses in (("conv1", 1, (1.0, 2.0)), ("fc1", 2, (1.0, 2.0, 4.0))):
        rows = [
            order | {"layer": layer, "units": units, "removed": removed, "loss": loss, "accuracy": 0.5}
            for removed, loss in enumerate(losses)
        ]
        write_table(tmp_path / f"{layer}.csv", TABLES["curves"].columns, rows)
    paths = [str(tmp_path / f"{layer}.csv") for layer in ("conv1", "fc1")]
    made = collect.areas(paths, TABLES["auc"].columns, {}).set_index("layer")
    assert made["auc_loss"].to_dict() == {"conv1": 1.0, "fc1": 2.0, "all": pytest.approx(5 / 3)}
    assert made["units"].to_dict() == {"conv1": 1, "fc1": 2, "all": 3}


def test_names_stay_as_they_are_written(tmp_path):
    order = {"net": "1e5", "seed": 0, "criterion": "07", "aggregate": "mean", "trial": 0}
    for layer in ("1.1", "1.10"):
        rows = [
            order | {"layer": layer, "units": 1, "removed": removed, "loss": 1 + removed, "accuracy": 0.5}
            for removed in range(2)
        ]
        write_table(tmp_path / f"{layer}.csv", TABLES["curves"].columns, rows)
    paths = [str(tmp_path / "1.1.csv"), str(tmp_path / "1.10.csv")]
    curves = collect.rows(paths, TABLES["curves"].columns, {})
    collect.write(tmp_path / "curves.csv", curves)
    written = [(tmp_path / name).read_text().splitlines()[-1] for name in ("curves.csv", "1.10.csv")]
    assert written[0] == written[1]
    made = collect.areas(paths, TABLES["auc"].columns, {})
    assert made["layer"].tolist() == ["1.1", "1.10", "all"]
    assert set(made["net"]) == {"1e5"}
    assert set(made["criterion"]) == {"07"}


def test_timing_is_of_the_jobs_that_have_run(tmp_path):
    (tmp_path / "here.tsv").write_text("s\tmax_rss\n1.5\t100\n")
    write_json(tmp_path / "model.json", {"net": "one", "device": "cuda"})
    timed = [
        ({"stage": "measure_curves", "net": "one", "seed": 0, "layer": "fc1"}, str(tmp_path / "here.tsv")),
        ({"stage": "prepare_data"}, str(tmp_path / "here.tsv")),
        ({"stage": "score_layer", "net": "one", "seed": 0, "layer": "fc1"}, str(tmp_path / "not_yet.tsv")),
    ]
    made = collect.timing(timed, [str(tmp_path / "model.json")], [])
    expected = pd.DataFrame(
        {
            "stage": ["measure_curves", "prepare_data"],
            "net": ["one", ""],
            "seed": [0, ""],
            "layer": ["fc1", ""],
            "criterion": ["", ""],
            "device": ["cuda", "cpu"],
            "seconds": [1.5, 1.5],
            "peak_memory_mb": [100.0, 100.0],
        }
    )
    assert made.astype(str).equals(expected.astype(str))
