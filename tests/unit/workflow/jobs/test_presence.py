"""Who holds the lock of a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from shapprune.workflow.jobs import presence


@pytest.fixture
def locked(tmp_path):
    (tmp_path / ".snakemake" / "locks").mkdir(parents=True)
    (tmp_path / ".snakemake" / "locks" / "0.input.lock").write_text("a\n")
    return tmp_path


def test_a_run_that_goes_on_is_told(locked):
    presence.announce(locked)
    told = presence.met(locked)
    assert told is not None
    assert f"{locked} is locked by process {os.getpid()} of " in told
    assert f"`kill {os.getpid()}`" in told
    assert "in another folder" in told


def test_a_run_that_was_killed_is_told_apart(locked):
    code = f"from shapprune.workflow.jobs import presence; presence.announce({str(locked)!r})"
    child = subprocess.run([sys.executable, "-c", code], check=True)
    assert child.returncode == 0
    told = presence.met(locked)
    assert told is not None
    assert "It has ended: free" in told
    assert "`snakemake --unlock`" in told


def test_a_process_of_the_same_number_is_another(locked):
    presence.announce(locked)
    path = locked / ".snakemake" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"born": "1"}))
    assert "It has ended" in presence.met(locked)


def test_a_run_on_another_machine_may_go_on(locked):
    presence.announce(locked)
    path = locked / ".snakemake" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"host": "node7"}))
    assert "If it does not run on node7 any more: free" in presence.met(locked)


def test_where_no_one_holds_a_lock_there_is_nothing_to_tell(tmp_path, locked):
    assert presence.met(locked) is None  # a lock, and no one has said whose
    (locked / ".snakemake" / "run.json").write_text("{")
    assert presence.met(locked) is None
    presence.announce(locked)
    (locked / ".snakemake" / "locks" / "0.input.lock").unlink()
    assert presence.met(locked) is None
    presence.withdraw(locked)
    presence.withdraw(locked)
    assert not (locked / ".snakemake" / "run.json").exists()
