"""The store: results of tasks under their keys, written once, found again by any run.

A record is the folder ``<first two digits>/<key>`` with payload files and ``manifest.json``. It is written under
another name, flushed to the disk and renamed into place, so no record is ever incomplete. It is never changed. Reading
a record compares it with its digests; a damaged one is set aside and counts as missing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapprune.core.files import checksum
from shapprune.workflow.store.keys import Task, digest

MANIFEST = "manifest.json"
_INCOMING, _DAMAGED = ".incoming", ".damaged"
_ABANDONED = 3600  # seconds after which an incomplete record has been abandoned


@dataclass(frozen=True)
class Record:
    """A record that was found whole.

    Attributes:
        folder: where it lies.
        manifest: all that ``manifest.json`` says: key, stage, parts, code, facts, files.
    """

    folder: Path
    manifest: dict[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of the result."""
        return dict(self.manifest["facts"])

    @property
    def files(self) -> list[str]:
        """The names of its payload files."""
        return list(self.manifest["files"])


class Store:
    """A folder of records.

    Args:
        root: the folder; it is made when the first record is written.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)

    def folder(self, key: str) -> Path:
        """The folder of the record of a key, whether it exists or not."""
        return self.root / key[:2] / key

    def has(self, key: str) -> bool:
        """Whether there is a record. Reading it shows whether it is whole."""
        return (self.folder(key) / MANIFEST).is_file()

    def all_keys(self) -> list[str]:
        """The keys of all records."""
        return sorted(path.parent.name for path in self.root.glob(f"[0-9a-f][0-9a-f]/*/{MANIFEST}"))

    def read(self, key: str) -> dict[str, Any]:
        """The manifest of a record.

        Raises:
            DamagedRecordError: its manifest is not what was written.
        """
        path = self.folder(key) / MANIFEST
        try:
            manifest = json.loads(path.read_text())
            expected = manifest.pop("digest")
            if digest(manifest) != expected or manifest["key"] != key:
                raise ValueError("its digest is another")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedRecordError(f"{path} is damaged ({error})") from error
        return dict(manifest)

    def check(self, key: str) -> Record:
        """A record, all files of which have been read and compared with their digests.

        Raises:
            DamagedRecordError: something is missing or not what was written.
        """
        manifest, folder = self.read(key), self.folder(key)
        for name, expected in manifest["files"].items():
            try:
                found = checksum(folder / name, "sha256")
            except OSError as error:
                raise DamagedRecordError(f"{folder / name} cannot be read ({error.strerror})") from error
            if found != expected:
                raise DamagedRecordError(f"{folder / name} is damaged: its SHA-256 is {found}, not {expected}")
        return Record(folder, manifest)

    def find(self, key: str) -> Record | None:
        """The record of a key, checked; None where there is none. A damaged one is set aside with a message."""
        if not self.has(key):
            return None
        try:
            return self.check(key)
        except DamagedRecordError as error:
            print(f"store: {error}; the record is set aside in {self.set_aside(key)}", flush=True)
            return None

    def set_aside(self, key: str) -> Path:
        """Move a record out of the way, for a person to look at, and return its new place."""
        aside = self.root / _DAMAGED / f"{key}-{uuid.uuid4().hex[:8]}"
        aside.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another job was faster
            self.folder(key).rename(aside)
        return aside

    def put(self, task: Task, facts: Mapping[str, Any], files: Mapping[str, Path]) -> None:
        """Write a record, unless there is one already.

        Args:
            task: what the result is of.
            facts: what is known of it, as JSON can hold it.
            files: name in the record -> file, which is copied.

        Raises:
            OSError: the record cannot be written, e.g. for a full disk; nothing is left of it then.
        """
        if self.has(task.key):
            return
        incoming = self.root / _INCOMING / f"{task.key}-{uuid.uuid4().hex}"
        incoming.mkdir(parents=True)
        try:
            for name, path in files.items():
                shutil.copyfile(path, incoming / name)
            manifest = {
                **task.describe(),
                "code": dict(task.code),
                "facts": dict(facts),
                "files": {name: checksum(incoming / name, "sha256") for name in files},
            }
            manifest["digest"] = digest(manifest)
            (incoming / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
            for path in incoming.iterdir():
                path.chmod(0o444)
                _flush(path)
            _flush(incoming)
            final = self.folder(task.key)
            final.parent.mkdir(exist_ok=True)
            try:
                incoming.rename(final)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                # Another job was faster; both have the same result.
            _flush(final.parent)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def clear(self, keys: Iterable[str]) -> None:
        """Delete records, leftovers of killed jobs and damaged records. A record disappears at once or not at all."""
        for key in keys:
            gone = self.root / _INCOMING / f"{key}-{uuid.uuid4().hex}"
            gone.parent.mkdir(exist_ok=True)
            self.folder(key).rename(gone)
            shutil.rmtree(gone)
        for folder in list(self.leftovers()):
            shutil.rmtree(folder)

    def size(self, key: str) -> int:
        """Bytes of a record."""
        return sum(path.stat().st_size for path in self.folder(key).iterdir())

    def leftovers(self) -> Iterator[Path]:
        """Damaged records that were set aside, and leftovers of killed jobs that are at least an hour old."""
        for path in (*self.root.glob(f"{_DAMAGED}/*"), *self.root.glob(f"{_INCOMING}/*")):
            if path.parent.name == _DAMAGED or time.time() - path.stat().st_mtime > _ABANDONED:
                yield path


class DamagedRecordError(Exception):
    """A record of the store is not what was written."""


def _flush(path: Path) -> None:
    """Flush a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
