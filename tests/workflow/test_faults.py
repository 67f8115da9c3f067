"""What goes wrong while a study runs: jobs fail or are killed, two runs meet, disks are full, clocks are wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.workflow.conftest import Workflow
from tests.workflow.test_restoring import same_files

pytestmark = pytest.mark.xdist_group("faults")  # the undisturbed run is shared by the tests of one worker

# Networks of one layer, in some of which a fault is planted.
CODE = """
import os, signal, time
from pathlib import Path
import numpy as np
from torch import nn

def load():
    while Path("slow").exists():
        time.sleep(0.1)
    random = np.random.default_rng(0)
    labels = np.arange(300) % 3
    images = (random.random((300, 6, 6)) * 60 + 60 * labels[:, None, None]).astype(np.uint8)
    return images[:200], labels[:200], images[200:], labels[200:]

def build(width=4, fault=""):
    fault = fault if Path("faults").exists() else ""
    if fault == "exception":
        raise ValueError("a planted fault")
    if fault == "memory":
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does where memory has run out
    if fault == "time":
        os.kill(os.getpid(), signal.SIGTERM)  # as a scheduler does when the time is up
    return nn.Sequential(nn.Flatten(), nn.Linear(36, width), nn.ReLU(), nn.Linear(width, 3))
"""


def network(**options: object) -> dict:
    return {
        "architecture": "my_code:build",
        "options": options,
        "data": "shades",
        "layers": {"1": 4},
        "train": {"epochs": 2, "lr": 0.1},
    }


FAULTY = {
    "study": "faulty",
    "tracking": False,
    "datasets": {"shades": "my_code:load"},
    "networks": {"good": network()},
    "splits": {"validation": 60},
    "scoring": {"images": 20},
    "oracle": {"images": 20},
    "curves": {"images": 50},
    "low_data": {"images": 20},
    "criteria": {"weight-norm": {}},
}


def faulty(folder: Path) -> Workflow:
    (folder / "my_code.py").write_text(CODE)
    return Workflow(folder, FAULTY)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The study without any fault, run once; tests read it and leave its results as they are."""
    workflow = faulty(tmp_path_factory.mktemp("undisturbed"))
    workflow.run("score_all", "curves_all")
    return workflow


def same_results(one: Workflow, other: Workflow) -> bool:
    """Whether scores and curves are there and equal."""
    folders = [each.folder / "results" for each in (one, other)]
    return same_files(*folders, "*/seed*/scores/**/trial*.npz") == same_files(*folders, "*/seed*/curves/*.csv") == 1


def test_a_job_that_fails_stops_no_other_and_is_tried_again(tmp_path):
    workflow, faults = faulty(tmp_path), ("exception", "memory", "time")
    workflow.study = FAULTY | {"networks": {fault: network(fault=fault) for fault in faults} | {"good": network()}}
    (tmp_path / "faults").touch()
    done = workflow("--cores", "2", "--", "score_all")
    assert done.returncode != 0
    assert "ValueError: a planted fault" in done.stdout  # the last lines of its log
    for fault in faults:
        assert f"results/logs/train_network/{fault}/seed0.log" in done.stdout
        assert not list((tmp_path / "results" / fault).rglob("trial0.npz"))
    assert len(list((tmp_path / "results" / "good").rglob("trial0.npz"))) == 1
    (tmp_path / "faults").unlink()
    assert workflow.planned("score_all") == {"train_network": 3, "score_layers": 3, "score_all": 1}
    workflow.run("score_all")
    assert workflow.planned("score_all") == {}


@contextmanager
def running(workflow: Workflow, *arguments: str) -> Iterator[subprocess.Popen]:
    """A run in the background; whatever of it is left is killed at the end."""
    log = (workflow.folder / "run.log").open("w")
    process = subprocess.Popen(
        workflow.command("--cores", "2", *arguments),
        cwd=workflow.folder,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


def wait_for(what: Callable[[], object], process: subprocess.Popen) -> None:
    until = time.monotonic() + 120
    while not what():
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.05)


def jobs_of(process: subprocess.Popen) -> list[psutil.Process]:
    """The scripts that a run has started."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if any(".snakemake/scripts" in word for word in child.cmdline()):
                found.append(child)
    return found


def test_a_run_that_is_asked_to_end_finishes_its_jobs(tmp_path):
    workflow = faulty(tmp_path)
    with running(workflow, "--", "score_all") as process:
        wait_for(lambda: jobs_of(process), process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) != 0
    said = (tmp_path / "run.log").read_text()
    assert "Will exit after finishing currently running jobs" in said
    assert (tmp_path / "results" / "data" / "shades.npz").is_file()
    assert not list((tmp_path / "results").rglob("trial0.npz"))  # nothing that follows was started
    workflow.run("score_all")


def test_a_job_that_is_killed_is_tried_again(tmp_path, undisturbed):
    workflow = faulty(tmp_path)
    (tmp_path / "slow").touch()
    with running(workflow, "--", "score_all") as process:
        wait_for(lambda: jobs_of(process), process)
        jobs_of(process)[0].kill()
        assert process.wait(120) != 0
    (tmp_path / "slow").unlink()
    workflow.run("score_all", "curves_all")
    assert same_results(workflow, undisturbed)


def test_a_second_run_in_a_folder_is_refused(tmp_path, undisturbed):
    workflow = faulty(tmp_path)
    (tmp_path / "slow").touch()
    with running(workflow, "--", "score_all") as process:
        wait_for(lambda: jobs_of(process), process)
        second = workflow("--cores", "1", "--", "score_all")
        assert second.returncode != 0
        assert "LockException" in second.stdout
        assert workflow("--dry-run").returncode == 0  # looking is allowed
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    third = workflow("--cores", "1", "--", "score_all")
    assert third.returncode != 0
    assert "LockException" in third.stdout
    assert workflow("--unlock").returncode == 0
    (tmp_path / "slow").unlink()
    workflow.run("score_all", "curves_all")
    assert same_results(workflow, undisturbed)


def test_two_studies_share_a_store(tmp_path, undisturbed):
    workflows = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        workflows.append(faulty(tmp_path / name))
        workflows[-1].study = FAULTY | {"store": str(tmp_path / "store")}
    targets = ("--resources", "gpu=8", "--", "score_all", "curves_all")
    with running(workflows[0], *targets) as one, running(workflows[1], *targets) as two:
        for process, workflow in ((one, workflows[0]), (two, workflows[1])):
            assert process.wait(400) == 0, (workflow.folder / "run.log").read_text()[-3000:]
    assert all(same_results(workflow, undisturbed) for workflow in workflows)
    assert not list((tmp_path / "store").glob(".incoming/*"))


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small file system of its own in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")
def test_a_full_disk_is_told_and_nothing_half_written_stays(tmp_path):
    with mounted(tmp_path / "small", "size=40k"):
        workflow = faulty(tmp_path)
        workflow.study = FAULTY | {"networks": {"good": network(width=400)}}
        workflow.study["networks"]["good"]["layers"] = {"1": 400}
        workflow.study["store"] = str(tmp_path / "small" / "store")
        workflow.run("score_all")  # results are there all the same
        logs = "".join(path.read_text() for path in (tmp_path / "results" / "logs").rglob("*.log"))
        assert "could not be kept in" in logs
        assert "No space left on device" in logs
        kept = [path.parent for path in (tmp_path / "small").rglob("manifest.json")]
        assert not list((tmp_path / "small" / "store" / ".incoming").glob("*"))
        shutil.rmtree(tmp_path / "results")
        workflow.run("score_all")
        assert all((path / "manifest.json").is_file() for path in kept)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")
def test_results_that_cannot_be_written_are_told(tmp_path):
    workflow = faulty(tmp_path)
    with mounted(tmp_path / "results", "size=1m,ro"):
        done = workflow("--cores", "1", "--", "score_all")
        assert done.returncode != 0
        assert "Read-only file system" in done.stdout
    shutil.rmtree(tmp_path / "results")
    workflow.run("score_all")


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_is_wrong_changes_no_result(tmp_path, undisturbed, hours):
    workflow = faulty(tmp_path)
    shutil.copytree(undisturbed.folder / "data", tmp_path / "data", symlinks=True)

    def shift(pattern: str) -> None:
        for path in tmp_path.rglob(pattern):
            os.utime(path, (path.stat().st_atime + hours * 3600, path.stat().st_mtime + hours * 3600))

    shift("data/store/**/*")
    workflow.run("score_all", "curves_all")
    assert same_results(workflow, undisturbed)
    assert workflow.planned("score_all", "curves_all") == {}
    shift("results/**/model.*")  # written by a node whose clock is ahead or behind
    workflow.run("score_all", "curves_all")
    assert same_results(workflow, undisturbed)
