"""The store under DVC: a snapshot of it that git can tell of, and the union of those of two branches.

DVC and git are called as a person calls them, by one process at a time; jobs of a study never call them.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from shapprune.core.errors import ShapPruneError
from shapprune.core.files import read_json
from shapprune.workflow.store.keys import digest
from shapprune.workflow.store.store import Store
from shapprune.workflow.study import config as study
from shapprune.workflow.study.plan import Plan

STORE = Path("data/store")
POINTER = STORE.with_suffix(".dvc")
STAGE = "pipeline"  # of dvc.yaml
METRICS_MANIFEST = Path("results/metrics.json")  # says which study the files in metrics/ are of
_DRIVER = "shapprune-store"  # named in .gitattributes
_DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")  # waits for others that are at work


def snapshot(store: str | Path) -> Iterator[str]:
    """Write the present records of the store into its pointer, and the metrics into ``dvc.lock``; lines that say so.

    Records that the pointer names and that are not here are brought in first, so that none gets lost.

    Args:
        store: the folder that the configuration names.

    Raises:
        ShapPruneError: a command of DVC or git fails.
    """
    if reason := _no_snapshot(Path(store)):
        yield f"No snapshot was taken: {reason}."
        return
    if not POINTER.is_file() or _call(*_DVC, "status", "--quiet", str(POINTER)).returncode:
        if missing := _missing():
            _bring_in(missing)
            yield f"{len(missing)} records that {POINTER} names were not here; they have been brought in."
        _dvc("add", str(STORE))
    yield f"{POINTER} names the {len(Store(STORE).all_keys())} records of {STORE}."
    yield _commit_stage()
    _set_up_driver()
    yield from _next_steps()


def merge_pointers(ours: Path, theirs: Path) -> None:
    """Write the pointer of the union of two versions of the store over ours; of a record in both, ours stays.

    DVC's own merge driver gives up where both have the same record in other bytes, as two trainings of a network are.

    Raises:
        ShapPruneError: records are neither in DVC's cache nor to be had from a remote.
    """
    with tempfile.TemporaryDirectory(prefix=".merge-", dir=POINTER.parent) as folder:
        pointers = [Path(folder) / side / POINTER.name for side in ("ours", "theirs")]
        for pointer, version in zip(pointers, (ours, theirs), strict=True):
            pointer.parent.mkdir()
            shutil.copyfile(version, pointer)
        _dvc("pull", *map(str, pointers))
        united, other = (Store(pointer.with_suffix("")) for pointer in pointers)
        for key in set(other.all_keys()) - set(united.all_keys()):
            united.folder(key).parent.mkdir(parents=True, exist_ok=True)
            other.folder(key).rename(united.folder(key))
        _dvc("commit", "--force", str(pointers[0]))
        shutil.copyfile(pointers[0], ours)


def _no_snapshot(store: Path) -> str | None:
    """Why there is nothing to take a snapshot of, or no place to put it."""
    if store.resolve() != STORE.resolve():
        return f"the store is {store}, and only {STORE} in the project's folder is versioned by DVC"
    if not Path(".dvc").is_dir() or _call("git", "rev-parse", "--git-dir").returncode:
        return f"{Path.cwd()} is not a clone of the project with git and DVC"
    return None if STORE.is_dir() else f"{STORE} is not there yet; run the study first"


def _missing() -> list[str]:
    """The records, as folders, that the pointer names and that are not here."""
    if not POINTER.is_file():
        return []
    store = Store(STORE)
    named = {Path(path).parent.name for path in _dvc("list", "--recursive", "--dvc-only", ".", str(STORE)).splitlines()}
    return sorted(str(store.folder(key)) for key in named - set(store.all_keys()))


def _bring_in(records: list[str]) -> None:
    try:
        _dvc("pull", *records)
    except ShapPruneError as error:
        raise ShapPruneError(
            f"{len(records)} records that {POINTER} names are neither here nor to be had from a remote ({error}); to"
            f" leave them out, type: dvc add {STORE}"
        ) from error


def _commit_stage() -> str:
    """Record in ``dvc.lock`` what the metrics are of, if they are of the configuration and code as they are now."""
    if "DVC_STAGE" in os.environ:
        return "DVC runs this as a stage and will record the metrics by itself."
    present = digest(Plan(study.validate(study.read("config.yaml"))).expected)
    if not METRICS_MANIFEST.is_file() or read_json(METRICS_MANIFEST).get("study") != present:
        return "The metrics are not of config.yaml and the code as they are now; to make and record them: dvc repro"
    _dvc("commit", "--force", STAGE)
    return "dvc.lock says what the metrics are of."


def _set_up_driver() -> None:
    """Tell this clone how to merge the pointer; git cannot keep this in a commit."""
    command = f"{shlex.quote(sys.executable)} -m shapprune merge-pointers %A %B"
    for key, value in (("name", "union of two stores"), ("driver", command)):
        _done(_call("git", "config", f"merge.{_DRIVER}.{key}", value))


def _next_steps() -> Iterator[str]:
    paths = [str(POINTER), "dvc.lock", "metrics"]
    status = _done(_call("git", "status", "--porcelain", "--", *paths))
    if changed := [path for path in paths if path in status]:
        yield "Next:"
        yield f"  git add {' '.join(changed)}"
        yield "  git commit -m 'Snapshot'"
    else:
        yield "Nothing has changed since the last commit."
    if not _dvc("remote", "list").strip():
        yield "  dvc remote add --default NAME FOLDER_OR_URL   # there is no remote yet; README, 'Sharing results'"
    yield f"  dvc push {STORE}"
    yield "  git push"


def _dvc(*arguments: str) -> str:
    """What a DVC command prints."""
    return _done(_call(*_DVC, *arguments))


def _call(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def _done(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode:
        reason = " ".join(done.stderr.split()) or "no reason given"
        raise ShapPruneError(f"{shlex.join(done.args)} failed: {reason}")
    return done.stdout
