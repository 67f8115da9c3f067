"""What a job has to make, and what of it is in the store. Nothing here imports torch, so a restored job starts fast."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shapprune.core.errors import ShapPruneError
from shapprune.core.files import check_finite, read_json, whole, write_json
from shapprune.core.tables import write_table
from shapprune.workflow.store.keys import digest, from_description
from shapprune.workflow.store.store import Store

Description = Mapping[str, Any]


class Work:
    """The tasks of a job.

    Args:
        store: the folder of the store.
        tasks: label -> description of the task (`shapprune.workflow.stages.stage.Planned.description`).
        unfinished: a file, or folder, from which a job that was cut off goes on.

    Attributes:
        tasks: all of them.
        missing: those that are still to be made.
        facts: label -> what is known of the result, of those that are not.
        unfinished: as above; who writes it deletes it when the results are kept.
    """

    def __init__(self, store: str | Path, tasks: Mapping[str, Description], unfinished: str | Path | None = None):
        self._store, self.tasks = Store(store), tasks
        self.missing: dict[str, Description] = dict(tasks)
        self.facts: dict[str, dict[str, Any]] = {}
        self.unfinished = None if unfinished is None else Path(unfinished)

    def find(self) -> None:
        """Look up all results in the store, and write the files of those that are there."""
        for label, task in self.tasks.items():
            if (record := self._store.find(task["key"])) is None:
                continue
            for suffix in record.files:
                with whole(self.path(label, suffix)) as temporary:
                    shutil.copyfile(record.folder / suffix, temporary)
            self._have(label, record.facts)
            print(f"{label}: restored", flush=True)

    def path(self, label: str, suffix: str) -> Path:
        """Where a file of a task lies."""
        return Path(f"{self.tasks[label]['stem']}{suffix}")

    def keep(self, label: str, facts: Mapping[str, Any], files: Mapping[str, Path] | None = None) -> None:
        """Put a result into the store; where the store cannot be written, say so and go on.

        Raises:
            ShapPruneError: the code was edited since the run was planned, or a fact is not finite.
        """
        check_finite(facts, label)
        task = from_description(self.tasks[label])
        try:
            self._store.put(task, facts, files or {})
        except OSError as error:
            print(f"store: {label} could not be kept in {self._store.root} ({error.strerror})", flush=True)
        self._have(label, dict(facts))

    def keep_files(self, label: str, *suffixes: str) -> None:
        """Put the files of a task, and what the ``.json`` beside them tells, into the store."""
        names = self.tasks[label]["names"]
        facts = {key: value for key, value in read_json(self.path(label, ".json")).items() if key not in names}
        self.keep(label, facts, {suffix: self.path(label, suffix) for suffix in suffixes})

    def consumed(self, label: str, part: str, name: str | None = None) -> str:
        """The stem of the files that a task consumes.

        Args:
            label: the task.
            part: the part of its key that is the key of the consumed task.
            name: which one, where the part names several.

        Raises:
            ShapPruneError: the files are not of that key.
        """
        stem, key = self.tasks[label]["consumes"][part], self.tasks[label]["parts"][part]
        if name is not None:
            stem, key = stem[name], key[name]
        require(f"{stem}.json", key)
        return str(stem)

    def rows(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The rows of all results that are tables (``columns`` among their facts), with those of the tasks' names that
        are columns too.
        """
        for label, task in self.tasks.items():
            names = {name: value for name, value in task["names"].items() if name in columns}
            found = self.facts[label]["columns"]
            for values in zip(*found.values(), strict=True):
                yield names | dict(zip(found, values, strict=True))

    def write_table(self, path: str | Path, columns: Sequence[str], manifest: str | Path) -> None:
        """Write the rows of all results as one table, and a manifest that says which tasks it was made of.

        There is no such manifest where the tasks have manifests of their own.
        """
        write_table(path, columns, self.rows(columns))
        if all(task["stem"] is None for task in self.tasks.values()):
            tasks = {label: {**_in_brief(task), "names": task["names"]} for label, task in self.tasks.items()}
            write_json(manifest, {"task": {"key": joint_key(self.tasks)}, "made_of": tasks})

    def _have(self, label: str, facts: dict[str, Any]) -> None:
        self.facts[label] = facts
        self.missing.pop(label, None)
        task = self.tasks[label]
        if task["stem"] is not None:
            write_json(self.path(label, ".json"), {**task["names"], **facts, "task": _in_brief(task)})


def columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows of the same columns as one list a column."""
    rows = list(rows)
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def joint_key(tasks: Mapping[str, Description]) -> str:
    """One key for all tasks of a job."""
    return digest({label: task["key"] for label, task in tasks.items()})


def require(manifest: str | Path, key: str) -> None:
    """Raise unless the manifest has this key.

    Raises:
        ShapPruneError: it has another key, or none.
    """
    if read_json(manifest).get("task", {}).get("key") != key:
        raise ShapPruneError(
            f"{manifest} is not of the present configuration and code, though Snakemake took it for up to date (was"
            " .snakemake deleted, or the file put there by hand?); delete it and run again"
        )


def _in_brief(task: Description) -> dict[str, Any]:
    return {key: task[key] for key in ("stage", "key", "parts")}
