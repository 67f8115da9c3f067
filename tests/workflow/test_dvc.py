"""Versions and sharing by DVC, in clones of the project as it lies here."""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from shapprune.core.paths import REPOSITORY
from shapprune.workflow.stages import inputs as origins
from shapprune.workflow.store.keys import Task
from shapprune.workflow.store.store import Store
from shapprune.workflow.study import config as study
from shapprune.workflow.study.plan import Plan
from tests.study import STUDY, changed

# A part of the small study, so that the store of the finished one has it.
SMALL = {"small": STUDY["networks"]["small"] | {"layers": ["fc2"]}}
PART = changed(STUDY, low_data={"criteria": ["taylor"]}) | {"networks": SMALL, "tracking": "off"}
PART |= {protocol: {"criteria": []} for protocol in ("fine_tune", "untrained", "compress", "deactivation")}
PART |= {"criteria": {"random": {}, "taylor": {}}, "estimators": {"compared": {}}, "budgets": {"methods": {}}}
PART |= {"quantisation": {"methods": {}}, "selective_tuning": {"methods": []}, "probe": {"methods": []}}
# As git and DVC are found by a person who has activated the environment; nobody's own settings.
ENVIRONMENT = os.environ | {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    **{f"GIT_{role}_{what}": "test@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "DVC_NO_ANALYTICS": "1",
}


class Clone:
    """A clone of the project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "data" / "store")

    def __call__(self, *command: str) -> str:
        """Run a command in the clone, which must end well; what it printed."""
        done = subprocess.run(command, cwd=self.folder, env=ENVIRONMENT, text=True, capture_output=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
        return done.stdout + done.stderr

    def git(self, *arguments: str) -> str:
        return self("git", *arguments)

    def dvc(self, *arguments: str) -> str:
        return self("dvc", *arguments)

    def snakemake(self, *arguments: str) -> str:
        return self("python", "-m", "snakemake", "--cores", "2", *arguments)

    def snapshot(self) -> str:
        """Take a snapshot and type the git commands that it prints."""
        said = self.snakemake("snapshot")
        for command in re.findall(r"^  (git (?:add|commit) .+)$", said, re.M):
            self(*shlex.split(command))
        return said

    def put(self, name: str, result: float) -> str:
        """Put a record into the store, as a job would; its key."""
        task = Task("train_network", {"name": name})
        self.store.put(task, {"result": result}, {})
        return task.key

    def clone(self, folder: Path) -> Clone:
        subprocess.run(["git", "clone", "--quiet", str(self.folder), str(folder)], env=ENVIRONMENT, check=True)
        return Clone(folder)


def lay_out(folder: Path) -> None:
    """The project with a part of the small study and a folder as remote, but no results, in git."""
    project = Clone(folder / "project")
    listed = ["git", "-C", str(REPOSITORY), "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    for path in subprocess.run(listed, text=True, capture_output=True, check=True).stdout.splitlines():
        if (REPOSITORY / path).is_file() and path not in ("dvc.lock", "data/store.dvc") and "metrics/" not in path:
            (project.folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / path, project.folder / path)
    (project.folder / "config.yaml").write_text(yaml.safe_dump(PART | {"datasets": {}}))
    pipeline = project.folder / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("-- all write_metrics", "-- write_metrics"))  # without figures
    project.git("init", "--quiet", "--initial-branch", "main")
    project.dvc("remote", "add", "--default", "folder", str(folder / "remote"))
    project.git("add", ".")
    project.git("commit", "--quiet", "-m", "The project")


@pytest.fixture(scope="session")
def project(once) -> Clone:
    """The project; tests clone it."""
    return Clone(once("dvc", lay_out) / "project")


@pytest.fixture(scope="session")
def shared(project, finished, once) -> Clone:
    """A clone in which the study was run by DVC, a snapshot was taken and the store was pushed."""

    def share(folder: Path) -> None:
        clone = project.clone(folder / "project")
        store, keys = Store(finished.folder / "data" / "store"), Plan(study.validate(PART)).keys()
        for key in keys & set(store.all_keys()):
            shutil.copytree(store.folder(key), clone.store.folder(key))
        clone.dvc("repro")
        clone.snapshot()
        clone.dvc("push", "data/store")

    return Clone(once("shared", share) / "project")


def test_after_a_snapshot_nothing_is_left_to_do(shared):
    """The only test that starts something in the shared clone itself."""
    assert "up to date" in shared.dvc("status", "pipeline", "data/store.dvc")
    assert "didn't change, skipping" in shared.dvc("repro")
    assert "Nothing has changed since the last commit" in shared.snakemake("snapshot")
    assert shared.git("status", "--porcelain") == ""
    said = shared.snakemake("snapshot", "--config", "store=elsewhere")
    assert "No snapshot was taken: the store is elsewhere, and only data/store in the project's folder" in said


def test_a_clone_restores_all_that_was_pushed(shared, tmp_path):
    clone = shared.clone(tmp_path / "clone")
    clone.dvc("pull", "data/store")
    said = clone.snakemake("write_metrics")
    found = re.findall(r"(\d+) of (\d+) restored", said)
    assert len(found) > 5
    assert all(restored == units for restored, units in found)
    assert clone.git("status", "--porcelain") == ""


def test_a_clone_without_the_remote_plans_the_study_without_dvc(project, tmp_path):
    clone = project.clone(tmp_path / "clone")
    shutil.rmtree(clone.folder / ".dvc")
    assert "train_network" in clone.snakemake("--dry-run", "--quiet", "rules")


def test_stores_of_two_branches_are_united(shared, tmp_path):
    ours, theirs = shared.clone(tmp_path / "ours"), shared.clone(tmp_path / "theirs")
    ours.dvc("pull", "data/store")
    theirs.dvc("pull", "data/store")
    before = set(ours.store.all_keys())
    own, both, others = ours.put("ours", 1.0), ours.put("both", 1.0), theirs.put("theirs", 2.0)
    assert theirs.put("both", 2.0) == both  # e.g. trained on another machine
    for clone in (ours, theirs):
        clone.snapshot()
        clone.dvc("push", "data/store")
    ours.git("pull", "--no-rebase", "--no-edit", str(theirs.folder), "main")
    assert ours.git("status", "--porcelain") == ""
    ours.dvc("pull", "data/store")
    assert set(ours.store.all_keys()) == before | {own, both, others}
    assert {ours.store.check(key).facts["result"] for key in (own, both)} == {1.0}
    assert ours.store.check(others).facts["result"] == 2.0
    assert "up to date" in ours.dvc("status", "data/store.dvc")


def test_a_snapshot_loses_no_record_that_was_not_pulled(shared, tmp_path):
    clone = shared.clone(tmp_path / "clone")
    new = clone.put("new", 1.0)
    assert f"{len(shared.store.all_keys())} records that data/store.dvc names were not here" in clone.snapshot()
    assert set(clone.store.all_keys()) == {new, *shared.store.all_keys()}


def test_an_experiment_changes_parameters_and_metrics(shared, tmp_path):
    clone = shared.clone(tmp_path / "clone")
    clone.dvc("pull", "data/store")
    said = clone.dvc("exp", "run", "--set-param", "config.yaml:curves.images=90")
    assert "Training small, seed 0: 1 of 1 restored" in said
    assert "Measuring removal curves of layer fc2 of small, seed 0: 0 of 3 restored" in said
    assert "up to date" in clone.dvc("status", "data/store.dvc")
    clone.git("commit", "--all", "-m", "Fewer images")
    (change,) = json.loads(clone.dvc("params", "diff", "--json", "HEAD~1", "HEAD"))["config.yaml"].items()
    assert change == ("curves.images", {"old": 100, "new": 90, "diff": -10})
    changed = json.loads(clone.dvc("metrics", "diff", "--json", "HEAD~1", "HEAD"))["metrics/metrics.json"]
    assert any(name.startswith("small.auc_loss") for name in changed)
    assert not any(name.startswith("small.test_accuracy") for name in changed)
    clone.dvc("plots", "diff", "HEAD~1", "HEAD", "--out", "plots")
    page = (clone.folder / "plots" / "index.html").read_text()
    assert "Area under removal curves" in page
    assert "HEAD~1" in page


def test_data_sets_are_pulled_from_a_remote_that_has_them(project, tmp_path):
    owner = project.clone(tmp_path / "owner")
    folder = owner.folder / "data" / "raw" / "birds"
    folder.mkdir(parents=True)
    (folder / "images").write_bytes(bytes(100))
    (folder / "labels").write_bytes(bytes(10))
    pointer = "outs:\n- path: raw/birds/images\n- path: raw/birds/labels\n"
    (owner.folder / "data" / "birds.dvc").write_text(pointer)
    owner.dvc("commit", "--force", "data/birds.dvc")
    owner.dvc("push", "data/birds.dvc")
    owner.git("add", "data/birds.dvc")
    owner.git("commit", "-m", "Birds")
    clone = owner.clone(tmp_path / "clone")
    clone.dvc("pull", "data/birds.dvc")
    assert (clone.folder / "data" / "raw" / "birds" / "images").read_bytes() == bytes(100)
    assert clone.git("status", "--porcelain") == ""


def test_keys_of_an_own_data_set_follow_its_pointer(tmp_path, monkeypatch):
    config = copy.deepcopy(PART)
    config["datasets"] = {"birds": "my_code:load"}
    config["networks"]["small"]["data"] = "birds"
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    keys = []
    for md5 in ("0" * 32, "1" * 32):
        Path("data/birds.dvc").write_text(f"outs:\n- md5: {md5}\n  path: raw/birds/images\n")
        origins._pointer.cache_clear()
        keys.append(Plan(study.validate(config)).keys())
    assert not keys[0] & keys[1]
