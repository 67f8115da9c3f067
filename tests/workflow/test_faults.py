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

from tests.study import Workflow
from tests.workflow.own import network, own, same_results


def test_a_job_that_fails_stops_no_other_and_is_tried_again(tmp_path):
    faults = ("exception", "memory", "time")
    workflow = own(tmp_path, networks={fault: network(fault=fault) for fault in faults} | {"good": network()})
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
    target = "results/memory/seed0/scores/weight-norm"
    workflow.run(target)
    assert workflow.planned(target) == {}


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
    workflow = own(tmp_path)
    with running(workflow, "--", "score_all") as process:
        wait_for(lambda: jobs_of(process), process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) != 0
    said = (tmp_path / "run.log").read_text()
    assert "Will exit after finishing currently running jobs" in said
    assert (tmp_path / "results" / "data" / "shades.npz").is_file()
    assert not list((tmp_path / "results").rglob("trial0.npz"))  # nothing that follows was started
    assert workflow.planned("score_all") == {"train_network": 1, "score_layers": 1, "score_all": 1}


def test_a_job_that_is_killed_is_tried_again(tmp_path, undisturbed):
    workflow = own(tmp_path, undisturbed)
    (tmp_path / "slow").touch()
    with running(workflow, "--", "score_all") as process:
        wait_for(lambda: jobs_of(process), process)
        jobs_of(process)[0].kill()
        assert process.wait(120) != 0
    (tmp_path / "slow").unlink()
    workflow.run("score_all", "curves_all")
    assert same_results(workflow, undisturbed)


def test_a_run_that_was_killed_goes_on(tmp_path, undisturbed):
    workflow = own(tmp_path)
    manifests = lambda: sorted((tmp_path / "data" / "store").glob("[0-9a-f]*/*/manifest.json"))  # noqa: E731
    with running(workflow, "--", "score_all", "curves_all") as process:
        wait_for(manifests, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = {path: path.read_bytes() for path in manifests()}
    workflow("--unlock")
    workflow.run("score_all", "curves_all")
    assert 0 < len(kept) < len(manifests())
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert same_results(workflow, undisturbed)


def test_a_second_run_in_a_folder_is_refused(tmp_path):
    workflow = own(tmp_path)
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
    workflow.run("data_all")


def test_two_studies_share_a_store(tmp_path, undisturbed):
    workflows = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        workflows.append(own(tmp_path / name, store=str(tmp_path / "store")))
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
        wide = network(width=400) | {"layers": {"1": 400}}
        workflow = own(tmp_path, networks={"good": wide}, store=str(tmp_path / "small" / "store"))
        workflow.run("train_all")  # results are there all the same
        logs = "".join(path.read_text() for path in (tmp_path / "results" / "logs").rglob("*.log"))
        assert "could not be kept in" in logs
        assert "No space left on device" in logs
        kept = [path.parent for path in (tmp_path / "small").rglob("manifest.json")]
        assert not list((tmp_path / "small" / "store" / ".incoming").glob("*"))
        shutil.rmtree(tmp_path / "results")
        workflow.run("train_all")
        assert all((path / "manifest.json").is_file() for path in kept)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")
def test_results_that_cannot_be_written_are_told(tmp_path):
    workflow = own(tmp_path)
    with mounted(tmp_path / "results", "size=1m,ro"):
        done = workflow("--cores", "1", "--", "data_all")
        assert done.returncode != 0
        assert "Read-only file system" in done.stdout
    shutil.rmtree(tmp_path / "results")
    workflow.run("data_all")


def test_a_clock_that_is_wrong_changes_no_result(tmp_path, undisturbed):
    workflow = own(tmp_path, undisturbed)

    def shift(hours: int, pattern: str) -> None:
        for path in tmp_path.rglob(pattern):
            os.utime(path, (path.stat().st_atime + hours * 3600, path.stat().st_mtime + hours * 3600))

    shift(1, "data/store/*/*/*")
    shift(-2, "data/store/[0-7]*/*/*")  # some an hour ahead, the others an hour behind
    workflow.run("score_all", "curves_all")
    assert same_results(workflow, undisturbed)
    assert workflow.planned("score_all", "curves_all") == {}
    for hours in (1, -2):  # written by a node whose clock is ahead, then behind
        shift(hours, "results/**/model.*")
        workflow.run("score_all", "curves_all")
        assert same_results(workflow, undisturbed)
