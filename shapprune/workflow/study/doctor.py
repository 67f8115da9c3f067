"""Whether what lies in ``results/`` is of the present configuration and code, and why not; and what the store holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shapprune.core.files import read_json
from shapprune.workflow.stages.stage import Planned
from shapprune.workflow.store.store import DamagedRecordError, Store
from shapprune.workflow.study.plan import Job, Plan

_EXAMPLES = 3


def diagnose(plan: Plan) -> Iterator[str]:
    """Lines that say which results are stale and why, and what is in the store."""
    reasons: dict[str, list[str]] = {}
    made = missing = 0
    for job in plan.jobs():
        for path, key in job.manifests().items():
            if not Path(path).is_file():
                missing += 1
                continue
            made += 1
            manifest = read_json(path)
            if manifest.get("task", {}).get("key") != key:
                for reason in dict.fromkeys(_reasons(job, path, manifest, plan.store)):
                    reasons.setdefault(reason, []).append(path)
    stale = {path for paths in reasons.values() for path in paths}
    yield f"{made} results are there, {len(stale)} of them stale; {missing} are not made yet."
    for reason, paths in reasons.items():
        more = f" and {len(paths) - _EXAMPLES} more" if len(paths) > _EXAMPLES else ""
        yield f"  {reason}"
        yield from (f"    {path}" for path in paths[:_EXAMPLES])
        if more:
            yield f"   {more}"
    if stale:
        yield "Delete stale results and run again; what the store has is restored."
    yield from _about_store(plan)


def _about_store(plan: Plan) -> Iterator[str]:
    store, needed = plan.store, plan.keys()
    keys = store.all_keys()
    size = sum(map(store.size, keys))
    unneeded = [key for key in keys if key not in needed]
    yield (
        f"The store {store.root} has {len(keys)} records, {megabytes(size)}; {len(needed & set(keys))} of the"
        f" {len(needed)} that this configuration needs, and {len(unneeded)} that it does not."
    )
    for key in keys:
        try:
            store.check(key)
        except DamagedRecordError as error:
            yield f"  {error}"
    if left := list(store.leftovers()):
        yield f"  {len(left)} folders were left by jobs that were killed, or are damaged records that were set aside:"
        yield from (f"    {path}" for path in left[:_EXAMPLES])


def _reasons(job: Job, path: str, manifest: Mapping[str, Any], store: Store) -> Iterator[str]:
    """Why a manifest is not of the job as it is now."""
    present = job.tasks if job.table_manifest else {path: _task_of(job, path)}
    before = manifest.get("made_of", {path: manifest.get("task", {})})
    if not any(before.values()):
        yield "made before results had keys, or put there by hand"
    for label, task in present.items():
        if label not in before:
            yield f"{label} was not there"
        elif before[label] and before[label]["key"] != task.task.key:
            yield from _differences(before[label], task, store)
    yield from (f"{label} is not there any more" for label in before if label not in present)


def _task_of(job: Job, path: str) -> Planned:
    """The task that a manifest is of."""
    return next(task for task in job.tasks.values() if f"{task.stem}.json" == path)


def _differences(before: Mapping[str, Any], now: Planned, store: Store) -> Iterator[str]:
    """What has changed between a task as its manifest tells it and as it is now."""
    stage, was, is_now = now.task.stage, _leaves(before["parts"]), _leaves(now.task.parts)
    changed = [name for name in {**was, **is_now} if was.get(name) != is_now.get(name)]
    for name in changed:
        if (part := name.partition(".")[0]) in now.consumes:
            yield f"{stage}: what it is made from has changed, the {part}"
        else:
            yield f"{stage}: {name} {_shown(was, name)} -> {_shown(is_now, name)}"
    if changed:
        return
    try:
        code = store.read(before["key"])["code"]
    except DamagedRecordError:
        yield f"{stage}: its code has changed"
        return
    for file in {**code, **now.task.code}:
        if code.get(file) != now.task.code.get(file):
            yield f"{stage}: the code has changed, {file}"


def _leaves(parts: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """Nested values by dotted name."""
    found: dict[str, Any] = {}
    for key, value in parts.items():
        inner = f"{name}.{key}".lstrip(".")
        found |= _leaves(value, inner) if isinstance(value, Mapping) and value else {inner: value}
    return found


def _shown(values: Mapping[str, Any], name: str) -> str:
    return json.dumps(values[name]) if name in values else "nothing"


def megabytes(size: int) -> str:
    """Bytes, for people."""
    return f"{size / 2**20:.1f} MB"
