"""Entries of the store that are not needed any more."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from shapprune.errors import ShapPruneError
from shapprune.plan import Plan


def unneeded(plan: Plan, revisions: Iterable[str], repository: Path) -> list[str]:
    """The keys of the store's entries that neither this configuration nor those of some git revisions need.

    Of a revision, ``config.yaml`` and every study in ``studies/`` count, with its own code; weights and DVC pointers
    are taken as they are now.

    Raises:
        ShapPruneError: a revision that does not exist, or whose keys cannot be found out.
    """
    needed = plan.keys().union(*(_keys_of(revision, repository) for revision in revisions))
    return [key for key in plan.store.all_keys() if key not in needed]


def _keys_of(revision: str, repository: Path) -> set[str]:
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive.tar"
        command = ["git", "-C", str(repository), "archive", "--output", str(archive), revision]
        done = _run(command)
        if done.returncode:
            raise ShapPruneError(f"revision {revision!r} is not in the repository {repository}: {done.stderr.strip()}")
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        done = _run([sys.executable, "-c", _LIST_KEYS, folder], PYTHONPATH=folder)
        if done.returncode:
            said = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise ShapPruneError(f"the keys of revision {revision!r} cannot be found out: {said}")
        return set(done.stdout.split())


def _run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)  # noqa: S603


_LIST_KEYS = """
import sys
from pathlib import Path
from shapprune import config as study
from shapprune.plan import Plan
root = Path(sys.argv[1])
base = study.read(root / "config.yaml")
for path in [None, *sorted(root.glob("studies/*.yaml"))]:
    merged = study.merge(base, study.read(path)) if path else base
    print(*Plan(study.validate(merged)).keys(), sep="\\n")
"""
