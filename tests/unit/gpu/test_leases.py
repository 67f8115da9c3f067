"""Leases of GPUs, on devices that do not exist: who gets which, and what is said where it cannot be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import shapprune
from shapprune.core.errors import ShapPruneError
from shapprune.gpu import leases
from shapprune.gpu.device import choose_device, lease

EIGHT = ",".join(f"fake{index}" for index in range(8))
# Processes that each hold devices for a while and then write down which, from when until when.
HOLDERS = """
import filelock, json, multiprocessing, os, sys, time
from shapprune.gpu import devices
from shapprune.gpu.device import lease

def hold(visible, count, slots, seconds, queue):
    os.environ["CUDA_VISIBLE_DEVICES"] = visible
    together.wait()
    with lease(count, slots) as names:
        began = time.monotonic()
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ",".join(names)
        physical = devices.pool()
        time.sleep(seconds)
        queue.put(([physical[name] for name in names], began, time.monotonic(), slots))

devices.installed = lambda: [["GPU-a"], ["GPU-b"], ["GPU-c"], ["GPU-d"]]
fork = multiprocessing.get_context("fork")
queue, wanted = fork.Queue(), json.loads(sys.argv[1])
together = fork.Barrier(len(wanted))
jobs = [fork.Process(target=hold, args=(*job, queue)) for job in wanted]
for job in jobs:
    job.start()
print(json.dumps([queue.get(timeout=60) for _ in jobs]))
for job in jobs:
    job.join()
    assert job.exitcode == 0
assert "torch" not in sys.modules
"""
HOLDER = """
import subprocess, sys, time
from shapprune.gpu.device import lease
with lease(int(sys.argv[1]), int(sys.argv[3]), work="a long job") as names:
    subprocess.Popen(["sleep", sys.argv[2]])
    print(*names, flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A folder of locks for the test, on a machine without scheduler and without CUDA."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "SLURM_JOB_ID", leases.SWITCH):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(leases.LOCKS, str(tmp_path / "locks"))
    monkeypatch.setattr(leases, "cuda_has_started", lambda: False)
    return tmp_path / "locks"


def hold(jobs: list[tuple[str, int, int, float]]) -> list[tuple[list[str], float, float, int]]:
    """Start all jobs at once (visible, devices, slots, seconds); what each held, from when, until when, its slots."""
    command = [sys.executable, "-c", HOLDERS, json.dumps(jobs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@contextmanager
def held_by_another(count: int, seconds: float = 20, slots: int = 1) -> Iterator[tuple[subprocess.Popen, list[str]]]:
    """A process that holds devices, and their names; it is killed in the end."""
    command = [sys.executable, "-c", HOLDER, str(count), str(seconds), str(slots)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().split()
    finally:
        process.kill()
        process.wait()


def most_at_a_time(held: list[tuple[list[str], float, float, int]], device: str) -> int:
    """How many jobs were on a device at the same time, at most; none may be there with more than it allows."""
    found = [(began, ended, slots) for names, began, ended, slots in held if device in names]
    numbers = []
    for began, _, _ in found:
        there = [slots for start, end, slots in found if start <= began < end]
        assert len(there) <= min(there)
        numbers.append(len(there))
    return max(numbers, default=0)


def test_forty_jobs_on_eight_devices():
    held = hold([(EIGHT, 1 + index % 2, 1, 0.2) for index in range(40)])
    assert len(held) == 40
    assert sorted(len(names) for names, *_ in held) == [1] * 20 + [2] * 20
    assert {device for names, *_ in held for device in names} == set(EIGHT.split(","))
    assert {most_at_a_time(held, device) for device in EIGHT.split(",")} == {1}


def test_runs_that_number_the_devices_differently_do_not_meet():
    lists = ["0,1,2", "2,1,0", "GPU-b,GPU-c,GPU-d", "3,GPU-a"]
    held = hold([(lists[index % 4], 1 + (index // 4) % 2, 1, 0.05) for index in range(24)])
    assert {device for names, *_ in held for device in names} == {"GPU-a", "GPU-b", "GPU-c", "GPU-d"}
    assert {most_at_a_time(held, f"GPU-{letter}") for letter in "abcd"} == {1}


def test_small_jobs_share_devices_and_others_do_not_join_them():
    held = hold([("a,b", 1, [3, 3, 3, 1][index % 4], 0.3) for index in range(16)])
    assert 1 < max(most_at_a_time(held, device) for device in "ab") <= 3  # jobs with one slot are alone
    assert {device for names, *_ in held for device in names} == {"a", "b"}


def test_a_device_is_shared_as_far_as_all_allow_it(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b,c")
    with held_by_another(1) as (_, one), held_by_another(1, slots=2) as (_, two):
        assert one + two == ["a", "b"]
        with lease(1, slots=2) as names:
            assert names == ["c"]  # it has the fewest jobs
        with held_by_another(1, slots=2) as (_, three), lease(1, slots=2) as names:
            assert three + names == ["c", "b"]


def test_devices_of_a_killed_job_are_free(monkeypatch, folder):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b")
    with held_by_another(2) as (process, names):
        assert names == ["a", "b"]
        os.kill(process.pid, signal.SIGKILL)  # what it had started goes on
        process.wait()
        assert len(list(folder.glob("*.json"))) == 2  # its notes are left
        began = time.monotonic()
        with lease(2) as names:
            assert names == ["a", "b"]
            (about, _) = [json.loads(path.read_text()) for path in folder.glob("*.json")]
            assert about["pid"] == os.getpid()
        assert time.monotonic() - began < 10


def test_a_job_that_waits_says_for_whom(monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b")
    with held_by_another(2, 1.5) as (process, _), lease(1, patience=0.2) as names:
        said = capsys.readouterr().err
        assert names in (["a"], ["b"])
    assert said.startswith("waiting for a GPU since 0 s; held are a by process ")
    assert f"a by process {process.pid} (a long job); b by process {process.pid} (a long job)\n" in said
    assert len(said.splitlines()) > 1  # and says it again


def test_the_environment_comes_back(monkeypatch, folder):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b,c")
    before = dict(os.environ)
    with shapprune.gpu.lease(2) as names:
        assert names == ["a", "b"]
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "a,b"
        assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert dict(os.environ) == before
    with pytest.raises(ZeroDivisionError), lease(3):
        1 / 0  # noqa: B018
    assert dict(os.environ) == before
    assert not list(folder.glob("*.json"))
    with lease(3) as names:
        assert names == ["a", "b", "c"]


def test_none_shows_none(monkeypatch):
    with lease(0) as names:
        assert (names, os.environ["CUDA_VISIBLE_DEVICES"]) == ([], "")
        with lease(1) as names:
            assert names == []
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)  # CUDA may have started before
        with pytest.raises(ShapPruneError, match="torch finds none because CUDA_VISIBLE_DEVICES is empty; set device"):
            choose_device("cuda")
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize("visible", ["", "-1"])
def test_without_a_gpu_there_is_none_to_wait_for(visible, monkeypatch, folder):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with lease(2) as names:
        assert (names, os.environ["CUDA_VISIBLE_DEVICES"]) == ([], visible)
    assert not folder.exists()
    assert leases.describe() is None


def test_a_lease_within_a_lease_takes_of_its_devices(monkeypatch, folder):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b,c")
    with lease(2), held_by_another(1) as (_, names):
        assert names == ["a"]  # and a process that was started there, too
        with lease(1) as inner, lease(1) as innermost:
            assert inner == innermost == ["b"]
        with pytest.raises(ShapPruneError, match="3 GPUs are asked for and 2 are visible"), lease(3):
            pass
    assert {path.name for path in folder.iterdir()} <= {"allocator.lock", "a.0.lock", "b.0.lock"}


@pytest.mark.parametrize(
    ("variables", "as_given"),
    [
        ({"SLURM_JOB_ID": "4711"}, True),
        ({leases.SWITCH: "off"}, True),
        ({"SLURM_JOB_ID": "4711", leases.SWITCH: "on"}, False),
        ({leases.SWITCH: "on"}, False),
        ({}, False),
    ],
)
def test_devices_that_a_scheduler_assigned_are_used_as_given(variables, as_given, monkeypatch, folder):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with lease(1) as names:
        assert names == (["4", "5"] if as_given else ["4"])
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ("4,5" if as_given else "4")
        assert folder.exists() is not as_given
    with lease(0):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_mistakes_are_sentences(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ShapPruneError, match=r"^2 GPUs are asked for and 1 is visible: 0$"), lease(2):
        pass
    for wrong in ((-1, 1), (1, 0)):
        with pytest.raises(ShapPruneError, match="or more are allowed"), lease(*wrong):
            pass
    monkeypatch.setenv(leases.SWITCH, "of")
    with pytest.raises(ShapPruneError, match="'of'; did you mean 'off'"), lease(1):
        pass
    monkeypatch.delenv(leases.SWITCH)
    monkeypatch.setattr(leases, "cuda_has_started", lambda: True)
    for count in (0, 1):
        with pytest.raises(ShapPruneError, match="take the lease before that"), lease(count):
            pass


def test_a_folder_that_cannot_be_used_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    (tmp_path / "file").write_text("")
    for folder, why in ((tmp_path / "file" / "locks", "Not a directory"), (tmp_path / "file", "File exists")):
        monkeypatch.setenv(leases.LOCKS, str(folder))
        with pytest.raises(ShapPruneError, match=f"cannot be kept in {folder} \\({why}\\); name another"), lease(1):
            pass
    monkeypatch.setenv(leases.LOCKS, "locks")
    with pytest.raises(ShapPruneError, match="SHAPPRUNE_GPU_LOCKS=locks is no absolute path"), lease(1):
        pass


def test_the_folder_of_a_user_belongs_to_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv(leases.LOCKS)
    monkeypatch.setattr(leases, "_TEMPORARY", str(tmp_path))
    folder = leases.lock_folder()
    assert folder == tmp_path / f"shapprune-gpu-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ShapPruneError, match="belongs to somebody else; name another folder in SHAPPRUNE_GPU_LOCKS"):
        leases.lock_folder()
    other = os.getuid() + 1
    (tmp_path / f"shapprune-gpu-{other}").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: other)
    with pytest.raises(ShapPruneError, match="belongs to somebody else"):
        leases.lock_folder()


def test_a_run_says_what_there_is(monkeypatch, folder):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,GPU-11111111-1111-1111-1111-111111111111")
    start = f"GPUs: 0, GPU-11111111{{}}; locks in {folder}; "
    assert leases.describe(cap=2) == start.format("") + "up to 2 jobs at a time (--resources gpu=2)"
    assert leases.describe(3, 6).startswith(start.format(", 3 jobs on each"))
    assert leases.describe(2).endswith("; any number of jobs may ask for one, 4 get it and the others wait with their"
                                       " cores: give --resources gpu=4")  # fmt: skip
    assert "; 9 jobs may ask for one, 2 get it" in leases.describe(1, 9)
    assert leases.describe(cap=0) is None
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    assert leases.describe().endswith(", all jobs on the first; SHAPPRUNE_GPU_LEASE=on shares them out")
    monkeypatch.setenv(leases.SWITCH, "off")
    assert leases.describe() is None
