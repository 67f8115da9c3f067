"""Who runs a study in a folder, so that a second run can say whom it met. Snakemake itself only knows that one did."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import socket
import sys
import time
from pathlib import Path

from shapprune.core.files import write_json

_FILE = Path(".snakemake") / "run.json"
_LOCKS = Path(".snakemake") / "locks"


def announce(folder: str | Path = ".") -> None:
    """Write down that this process runs the study in a folder."""
    facts = {
        "pid": os.getpid(),
        "born": _birth(os.getpid()),
        "host": socket.gethostname(),
        "user": getpass.getuser(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": shlex.join(sys.argv),
    }
    write_json(Path(folder) / _FILE, facts)


def withdraw(folder: str | Path = ".") -> None:
    """Take that back at the end of the run; what another process wrote is left."""
    path = Path(folder) / _FILE
    if path.exists() and json.loads(path.read_text(encoding="utf-8"))["pid"] == os.getpid():
        path.unlink()


def met(folder: str | Path = ".") -> str | None:
    """What to tell of another run that holds the lock of a folder, and how to proceed; None where no one does.

    Args:
        folder: in which Snakemake runs.
    """
    path = Path(folder)
    if not (path / _LOCKS).is_dir() or not any((path / _LOCKS).iterdir()):
        return None
    try:
        facts = json.loads((path / _FILE).read_text(encoding="utf-8"))
        who = f"process {facts['pid']} of {facts['user']} on {facts['host']}"
        since = f"since {facts['since']}: {facts['command']}"
        here = facts["host"] == socket.gethostname()
        alive = here and facts["born"] is not None and _birth(int(facts["pid"])) == facts["born"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    where = Path(folder).resolve()
    if alive:
        advice = (
            f"Wait until it ends, or end it with `kill {facts['pid']}` (running jobs are finished first), or run in"
            " another folder; with the same `store` in both, nothing is computed twice."
        )
    else:
        ended = "It has ended" if here else f"If it does not run on {facts['host']} any more"
        advice = f"{ended}: free the folder with `snakemake --unlock` and start again; what was finished is kept."
    return f"{where} is locked by {who}, {since}\n{advice}"


def _birth(pid: int) -> str | None:
    """When a process was started, in the kernel's ticks, which tells it from a later one of the same number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return _birth_elsewhere(pid)


def _birth_elsewhere(pid: int) -> str | None:
    """Where there is no /proc: that it is there at all."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "running"
