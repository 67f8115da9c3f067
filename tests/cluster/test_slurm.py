"""The workflow on a real Slurm, whose GPUs are made up."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.cluster.conftest import FIGURE, Finished, OnSlurm
from tests.study import same_files

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

# Each job of the study and whether it uses a GPU: its log is below results/logs, its benchmark in the same place.
JOBS = {
    "prepare_data/digits": False,
    "train_network/small/seed0": True,
    "score_layers/small/seed0": True,
    "score_layer/small/seed0/fc1": True,
    "score_layer/small/seed0/fc2": True,
    "tabulate_coalitions/small/seed0/fc2": True,
    "search_oracle/small/seed0/fc2": False,
    "measure_curves/small/seed0/fc1": True,
    "measure_curves/small/seed0/fc2": True,
    "prune_layers/small/seed0": True,
    "prune_by_walks/small/seed0/shapley": True,
    "evaluate_pruned/small/seed0": False,  # its networks were measured where they were made
}
OF_THE_LAYERS = ("score_layer", "measure_curves", "search_oracle")


def records(store: Path) -> set[Path]:
    """The manifests of all records, without those that are being written."""
    return set(store.glob("[0-9a-f]*/*/manifest.json"))


def without_records(store: Path, *stages: str) -> None:
    """Delete the records of some stages from a store."""
    for path in records(store):
        if json.loads(path.read_text())["stage"] in stages:
            shutil.rmtree(path.parent)


def with_store(finished: Finished, folder: Path) -> OnSlurm:
    """The study in another folder, with the store of the finished one."""
    shutil.copytree(finished.workflow.folder / "data" / "store", folder / "data" / "store")
    return OnSlurm(finished.workflow.cluster, folder)


def same_tables(one: Path, other: Path) -> bool:
    """All tables are equal but for the seconds that something took."""
    names = sorted(path.name for path in one.glob("tables/*.csv") if path.name != "timing.csv")
    assert len(names) > 8
    for name in names:
        tables = [pd.read_csv(folder / "tables" / name) for folder in (one, other)]
        kept = [column for column in tables[0] if "seconds" not in column]
        pd.testing.assert_frame_equal(*(table[kept] for table in tables), check_exact=True)
    return True


def test_the_tables_are_those_of_a_local_run(finished):
    here, there = finished.local / "results", finished.workflow.folder / "results"
    assert same_tables(here, there)
    assert same_files(here, there, "*/seed*/scores/**/trial*.npz") == 10
    assert (finished.workflow.folder / FIGURE).stat().st_size > 1000


def test_layers_that_are_small_share_a_submission(finished):
    jobs = finished.jobs
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert len(jobs) == len(JOBS) - 4  # five jobs of two layers are one
    (group,) = (job for job in jobs if job.comment.startswith("rule_small_layers"))
    assert group.gpus == 1
    assert all(rule in group.comment for rule in OF_THE_LAYERS)
    assert finished.workflow.said().count("submitted with SLURM jobid") == len(jobs)


def test_jobs_have_devices_of_their_own(finished):
    jobs = finished.jobs
    without = {job.comment.partition("_wildcards_")[0]: job.devices for job in jobs if not job.gpus}
    assert without == {"rule_prepare_data": "", "rule_evaluate_pruned": ""}
    assert all(re.fullmatch("[0-3]", job.devices) for job in jobs if job.gpus)
    pairs = [
        (one, other)
        for one, other in itertools.combinations([job for job in jobs if job.gpus], 2)
        if one.start < other.end and other.start < one.end
    ]
    assert len(pairs) >= 3
    assert all((one.node, one.devices) != (other.node, other.devices) for one, other in pairs)


def test_logs_and_benchmarks_come_back(finished):
    results = finished.workflow.folder / "results"
    for job, on_gpu in JOBS.items():
        log = (results / "logs" / f"{job}.log").read_text()
        assert bool(re.search("^on GPU [0-3]$", log, flags=re.MULTILINE)) == on_gpu, job
        table = pd.read_csv(results / "benchmarks" / f"{job}.tsv", sep="\t")
        assert (table["s"] > 0).all(), job
    of_slurm = finished.workflow.folder / ".snakemake" / "slurm_logs"
    assert not list(of_slurm.rglob("*.log"))  # they are kept of jobs that failed


def test_restores_ask_for_no_gpu(finished, tmp_path):
    workflow = with_store(finished, tmp_path)
    workflow.run("train_all")
    jobs = workflow.submit("--", "score_all")
    assert [job.gpus for job in jobs] == [0, 0]  # all layers, and the group of the two layers
    assert {job.devices for job in jobs} == {""}
    assert same_files(finished.local / "results", tmp_path / "results", "*/seed*/scores/**/trial*.npz") == 10


def test_what_was_restored_here_is_not_submitted(finished, tmp_path):
    workflow = with_store(finished, tmp_path)
    without_records(tmp_path / "data" / "store", "evaluate_pruned")
    workflow.run("restore")
    assert workflow.submit("--", "curves_all", "oracle_all") == []
    assert "Nothing to be done" in workflow.said()
    (job,) = workflow.submit("--", "prune_all")
    assert job.comment == "rule_evaluate_pruned_wildcards_small_0"
    assert job.gpus == 1
    assert same_files(finished.local / "results", tmp_path / "results", "*/seed*/low_data.csv") == 1


def test_a_node_dies_and_another_loses_its_slurmd(finished, tmp_path):
    cluster, store = finished.workflow.cluster, tmp_path / "data" / "store"
    workflow = with_store(finished, tmp_path)
    without_records(store, *OF_THE_LAYERS)
    workflow.run("restore")
    there, before = records(store), cluster.last_job()
    running = workflow.start("--group-components", "small_layers=1", "--", "tables_all")
    until = time.monotonic() + 300
    try:
        while not (made := records(store) - there):
            assert time.monotonic() < until, workflow.said()[-5000:]
            assert running.poll() is None, workflow.said()[-5000:]
            assert cluster.listening() == {"127.0.0.1"}
            time.sleep(0.1)
        hit = {job.node: job.id for job in cluster.jobs(since=before) if job.state == "RUNNING"}
        assert hit.keys() == {"one", "two"}
        cluster.kill("one")
        cluster.kill("two", all_of_it=False)
        kept = {path: path.read_bytes() for path in made}
        cluster.revive("two")
        running.wait(600)
    finally:
        running.kill()
        running.wait()
    assert cluster.state("one").startswith("down")
    assert hit["one"] in {job.id for job in cluster.jobs(since=before) if job.restarts and job.node == "two"}
    workflow("--unlock")
    workflow.submit("--", "tables_all")  # whatever became of the first one
    assert same_tables(finished.local / "results", tmp_path / "results")
    assert all(path.read_bytes() == content for path, content in kept.items())
    cluster.revive("one")
