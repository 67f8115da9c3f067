"""Nothing is computed twice: results come back from the store, and only what has changed is made anew."""

from __future__ import annotations

import json
import os
import re
import shutil

from tests.study import STUDY, Workflow, same_files

WITHOUT_TABLES = (
    *("train_all", "score_all", "oracle_all", "estimators_all", "curves_all", "prune_all"),
    *("fine_tune_all", "compress_all", "budgets_all", "parameters_all", "untrained_all"),
)


def restored(said: str) -> dict[str, set[tuple[int, int]]]:
    """What jobs of each kind said of their tasks: how many were restored, of how many."""
    found: dict[str, set[tuple[int, int]]] = {}
    for kind, some, all_tasks in re.findall(r"Job \d+: ([\w-]+).*: (\d+) of (\d+) restored", said):
        found.setdefault(kind, set()).add((int(some), int(all_tasks)))
    return found


def test_a_fresh_folder_with_the_store_computes_nothing(finished, tmp_path, monkeypatch):
    poison = tmp_path / "poison" / "torch"
    poison.mkdir(parents=True)
    (poison / "__init__.py").write_text("raise ImportError('a restored job imports torch')")
    workflow = finished.with_store(tmp_path / "fresh")
    dry = workflow("--cores", "2", "--dry-run").stdout
    assert "gpu=1" not in dry
    said = restored(dry)
    assert said.keys() == {
        *("Training", "Scoring", "Valuing", "Comparing", "Testing", "Measuring", "Pruning", "Evaluating"),
        *("Fine-tuning", "Compressing", "Fitting", "Exporting", "Deactivating", "Quantising", "Tuning", "Probing"),
    }
    assert all(some == all_tasks for each in said.values() for some, all_tasks in each)
    with monkeypatch.context() as poisoned:
        poisoned.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(poison.parent), os.environ.get("PYTHONPATH")))))
        workflow.run(*WITHOUT_TABLES)
    workflow.run("tables_all")
    before, after = finished.folder / "results", workflow.folder / "results"
    assert same_files(before, after, "*/seed*/scores/**/trial*") == 2 * 2 * 5  # layers; trials of three criteria
    assert same_files(before, after, "*/seed*/pruned/**/trial*") >= 2 * 3 * 2  # of three orders with two repairs
    assert same_files(before, after, "*/seed*/compressed/**/[a-z]*.*") == 2 * 2 * 2  # of two orders in two sizes
    assert same_files(before, after, "*/seed*/*.*") > 5
    tables = ("networks", "training", "scores", "curves", "auc", "oracle", "estimators", "low_data")
    assert same_files(before, after, "*/seed*/budgets/**/trial*") == 2 * 2 * 2  # of two methods in two trials
    assert same_files(before, after, "*/seed*/onnx/**/trial*") == 2 * 2 * 2
    assert same_files(before, after, "*/seed*/quantised/**/trial*") == 2 * 9  # two files of each
    used = ("deactivated", "quantised", "tuned", "probed")
    for table in (*tables, "fine_tune", "untrained", "compress", "budgets", *used):
        assert same_files(before, after, f"tables/{table}.csv") == 1


def test_without_a_store_everything_is_to_be_computed(tmp_path):
    dry = Workflow(tmp_path, STUDY)("--cores", "2", "--dry-run").stdout
    assert "gpu=1" in dry
    assert {some for each in restored(dry).values() for some, _ in each} == {0}


def test_one_changed_value_computes_what_depends_on_it_and_back_again(finished, tmp_path):
    changed = {"shapley": STUDY["criteria"]["shapley"] | {"permutations": 3}}
    workflow = finished.with_store(tmp_path, criteria=changed)
    said = restored(workflow.run("restore"))
    # Of all others a part would be computed.
    assert said == {
        "Training": {(1, 1)},
        "Scoring": {(6, 6)},  # all layers by random and taylor
        "Valuing": {(1, 1)},
        "Testing": {(4, 4)},
        "Pruning": {(2, 2)},  # by taylor
        "Fine-tuning": {(3, 3)},
        "Fitting": {(2, 2), (4, 4)},  # two trials, and by one method the damage of layers in each
        "Exporting": {(2, 2)},
        "Quantising": {(9, 9)},
        "Tuning": {(4, 4)},
        "Probing": {(2, 2)},
    }
    assert {
        rule: number for rule, number in workflow.planned(*WITHOUT_TABLES).items() if not rule.endswith("_all")
    } == {
        "score_layer": 2,
        "measure_curves": 2,
        "search_oracle": 1,
        "prune_by_walks": 1,
        "evaluate_pruned": 1,
        "compress_network": 1,
        "deactivate_units": 1,
        "prune_untrained": 1,
    }
    said = restored(workflow.run(*WITHOUT_TABLES))
    assert said == {
        "Scoring": {(0, 2)},  # one layer by shapley
        "Measuring": {(3, 7)},
        "Comparing": {(7, 11)},
        "Pruning": {(0, 4), (0, 2)},  # (of the untrained network, two steps)
        "Evaluating": {(6, 6)},  # they were measured as they were made
        "Compressing": {(0, 4)},
        "Deactivating": {(6, 14)},
    }
    workflow.study = STUDY
    said = restored(workflow("--cores", "2", "--dry-run", "--", *WITHOUT_TABLES).stdout)
    assert len(said) > 5
    assert all(some == all_tasks for each in said.values() for some, all_tasks in each)
    workflow.run("score_all")
    assert same_files(finished.folder / "results", tmp_path / "results", "*/seed*/scores/shapley/**/trial*") == 8


def test_stale_files_without_their_history_are_noticed(finished, tmp_path):
    shutil.copytree(finished.folder / "results", tmp_path / "results")  # and no .snakemake
    workflow = finished.with_store(tmp_path, scoring={"images": 25})
    (tmp_path / "results" / "small" / "seed0" / "curves" / "fc1.csv").unlink()
    done = workflow("--cores", "2", "--", "curves_all")
    assert done.returncode != 0
    assert "trial0.json is not of the present configuration and code" in done.stdout
    assert "Traceback" not in done.stdout
    told = workflow("--cores", "1", "--", "doctor").stdout
    assert "score_layer: images 20 -> 25\n    results/small/seed0/scores/shapley/fc1/trial0.json" in told
    assert re.search(r"\d+ results are there, \d+ of them stale; \d+ are not made yet", told)
    assert "measure_curves: what it is made from has changed, the scores" in told


def test_a_damaged_record_is_computed_again(finished, tmp_path):
    workflow = finished.with_store(tmp_path)
    payloads = sorted((tmp_path / "data" / "store").rglob(".safetensors"))
    manifests = [json.loads((path.parent / "manifest.json").read_text()) for path in payloads]
    records = zip(payloads, manifests, strict=True)
    ((payload, manifest),) = (each for each in records if each[1]["stage"] == "train_network")  # all need it
    content = bytearray(payload.read_bytes())
    content[-5] ^= 1
    payload.chmod(0o644)
    payload.write_bytes(content)
    told = workflow("--cores", "1", "--", "doctor").stdout
    assert f"{payload.relative_to(tmp_path)} is damaged: its SHA-256 is" in told
    workflow.run("train_all", "prune_all")
    logs = "".join(path.read_text() for path in (tmp_path / "results" / "logs").rglob("*.log"))
    assert "is damaged: its SHA-256 is" in logs
    assert "the record is set aside in data/store/.damaged/" in logs
    assert (payload.parent / "manifest.json").is_file()
    assert json.loads((payload.parent / "manifest.json").read_text())["key"] == manifest["key"]
    assert same_files(finished.folder / "results", tmp_path / "results", "*/seed*/low_data.csv") == 1


def test_records_that_nothing_needs_can_be_deleted(finished, tmp_path):
    workflow = finished.with_store(tmp_path, curves={"images": 90})
    records = lambda: len(list((tmp_path / "data" / "store").glob("[0-9a-f]*/*/manifest.json")))  # noqa: E731
    there, curves = records(), 2 * (7 + 4)  # of each layer the curves and the estimators
    shown = workflow("--cores", "1", "--", "store_gc").stdout
    assert f"{curves} of {there} records of data/store" in shown
    assert "snakemake store_gc --config confirm=yes" in shown
    assert records() == there
    done = workflow("--cores", "1", "--config", "confirm=yes", "--", "store_gc").stdout
    assert f"Deleted {curves} of {there} records" in done
    assert records() == there - curves
    kept = workflow("--cores", "1", "--config", "confirm=yes", "revisions=HEAD", "--", "store_gc")
    left_out = (
        "HEAD: studies/efficientnet-budgets.yaml is left out: networks.efficientnet-lite0.weights: there is no file"
    )
    assert left_out in kept.stdout
    assert "what the present configuration and HEAD need is kept" in kept.stdout
    assert records() == there - curves
    unknown = workflow("--cores", "1", "--config", "confirm=yes", "revisions=nosuch", "--", "store_gc")
    assert unknown.returncode != 0
    assert "revision 'nosuch' is not in the repository" in unknown.stdout
    assert records() == there - curves
