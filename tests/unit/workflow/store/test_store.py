"""The store: whole records or none, whatever happens while they are written."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from shapprune.core.errors import ShapPruneError
from shapprune.workflow.store import store as module
from shapprune.workflow.store.keys import Task
from shapprune.workflow.store.store import DamagedRecordError, Store
from shapprune.workflow.store.work import Work, columns, joint_key, require

NAMES = {"net": "small", "seed": 0}


def task(number: int = 0) -> Task:
    return Task("measure_curves", {"number": number, "nested": {"a": [1, 2]}})


@pytest.fixture
def payload(tmp_path) -> Path:
    path = tmp_path / "payload"
    path.write_bytes(os.urandom(300_000))
    return path


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def leftovers(store: Store) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file() and path.parent.name not in store.all_keys()]


def test_what_is_put_is_found(store, payload):
    assert store.find(task().key) is None
    assert not store.has(task().key)
    store.put(task(), {"loss": 0.1, "none": None}, {".bin": payload})
    record = store.find(task().key)
    assert record.facts == {"loss": 0.1, "none": None}
    assert record.files == [".bin"]
    assert (record.folder / ".bin").read_bytes() == payload.read_bytes()
    assert record.folder == store.root / task().key[:2] / task().key
    assert record.manifest["parts"] == dict(task().parts)
    assert record.manifest["code"]["scripts/measure_curves.py"]
    assert store.all_keys() == [task().key]
    assert store.size(task().key) > 300_000
    assert not leftovers(store)
    assert all(path.stat().st_mode & 0o222 == 0 for path in record.folder.iterdir())


def test_an_entry_is_never_changed(store, payload):
    store.put(task(), {"which": "first"}, {".bin": payload})
    store.put(task(), {"which": "second"}, {})
    assert store.find(task().key).facts == {"which": "first"}


def flip(path: Path, place: int = 1000) -> None:
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: flip(folder / ".bin"), "is damaged: its SHA-256 is"),
        (lambda folder: (folder / ".bin").unlink(), "cannot be read"),
        (lambda folder: flip(folder / "manifest.json", 200), "is damaged"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "is damaged"),
        (lambda folder: (folder / "manifest.json").write_text(""), "is damaged"),
    ],
)
def test_a_damaged_entry_is_set_aside_and_made_again(store, payload, damage, said, capsys):
    store.put(task(), {}, {".bin": payload})
    folder = store.folder(task().key)
    (folder / "manifest.json").chmod(0o644)
    damage(folder)
    with pytest.raises(DamagedRecordError, match=re.escape(said)):
        store.check(task().key)
    assert store.find(task().key) is None
    out = capsys.readouterr().out
    assert said in out
    assert "set aside in" in out
    (aside,) = store.leftovers()
    assert aside.name.startswith(task().key)
    store.put(task(), {}, {".bin": payload})
    assert store.find(task().key) is not None


def test_a_record_of_another_key_is_damaged(store):
    store.put(task(0), {}, {})
    other = store.folder(task(1).key)
    other.parent.mkdir(exist_ok=True)
    shutil.copytree(store.folder(task(0).key), other)
    assert store.find(task(1).key) is None


def write(root: Path, payload: Path, numbers: range) -> None:
    for number in numbers:
        Store(root).put(task(number), {"number": number}, {".bin": payload})


def test_many_writers_of_the_same_keys(store, payload):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write, args=(store.root, payload, range(25))) for _ in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert store.all_keys() == sorted(task(number).key for number in range(25))
    assert all(store.find(key) for key in store.all_keys())
    assert not leftovers(store)


def test_a_writer_killed_at_any_moment(store, payload):
    """Whatever stands when writers are killed is whole, and the others can be written."""
    context = multiprocessing.get_context("fork")
    for attempt in range(12):
        writer = context.Process(target=write, args=(store.root, payload, range(1000)))
        writer.start()
        time.sleep(0.02 + 0.013 * attempt)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    keys = store.all_keys()
    assert 0 < len(keys) < 1000
    assert all(store.check(key) for key in keys)
    write(store.root, payload, range(len(keys) + 5))
    assert len(store.all_keys()) >= len(keys) + 5
    assert not list(store.leftovers())  # they may be of jobs that are still running
    for path in (store.root / ".incoming").iterdir():
        os.utime(path, (0, 0))
    assert len(list(store.leftovers())) >= 1
    store.clear([])
    assert not list((store.root / ".incoming").iterdir())
    assert len(store.all_keys()) >= len(keys) + 5


@pytest.mark.parametrize("step", ["copyfile", "_flush", "checksum"])
def test_a_full_disk_leaves_nothing(store, payload, step, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.shutil if step == "copyfile" else module, step, full)
    with pytest.raises(OSError, match="No space left"):
        store.put(task(), {}, {".bin": payload})
    assert store.find(task().key) is None
    assert not leftovers(store)
    work = Work(store.root, {"one": task().describe() | {"names": {}, "stem": None}})
    work.keep("one", {"loss": 1.0}, {".bin": payload})  # the result is there, though it is not kept
    assert work.facts["one"] == {"loss": 1.0}
    assert "one could not be kept in" in capsys.readouterr().out


def test_clearing_takes_what_is_named(store):
    for number in range(3):
        store.put(task(number), {}, {})
    store.clear([task(1).key])
    assert set(store.all_keys()) == {task(0).key, task(2).key}


def work_of(store: Store, folder: Path | None = None, name: str = "mine") -> Work:
    tasks = {}
    for number in range(2):
        label = f"{name}/trial{number}"
        stem = None if folder is None else str(folder / label)
        tasks[label] = task(number).describe() | {"names": NAMES | {"criterion": name}, "stem": stem}
    return Work(store.root, tasks)


def test_work_is_found_under_other_names(store, tmp_path, capsys):
    work = work_of(store, tmp_path / "one")
    work.find()
    assert set(work.missing) == {"mine/trial0", "mine/trial1"}
    for label in list(work.missing):
        work.path(label, ".npz").parent.mkdir(parents=True, exist_ok=True)
        work.path(label, ".npz").write_bytes(label.encode())
        facts = NAMES | {"criterion": "mine", "seconds": 0.5}
        work.path(label, ".json").write_text(json.dumps(facts))
        work.keep_files(label, ".npz")
    assert not work.missing
    capsys.readouterr()
    again = work_of(store, tmp_path / "two", "other")
    again.find()
    assert not again.missing
    assert capsys.readouterr().out.splitlines() == ["other/trial0: restored", "other/trial1: restored"]
    assert (tmp_path / "two" / "other" / "trial1.npz").read_bytes() == b"mine/trial1"
    manifests = [
        json.loads((tmp_path / where).read_text()) for where in ("one/mine/trial0.json", "two/other/trial0.json")
    ]
    assert manifests[0].pop("criterion") == "mine"
    assert manifests[1].pop("criterion") == "other"
    assert manifests[0] == manifests[1]
    assert manifests[0]["task"] == {"stage": "measure_curves", "key": task(0).key, "parts": dict(task(0).parts)}


def test_tables_are_put_together_from_tasks(store, tmp_path):
    work = work_of(store)
    work.keep("mine/trial0", {"columns": columns([{"size": 1, "gap": 0.5}, {"size": 2, "gap": 0.25}])})
    later = work_of(store)
    later.find()
    assert set(later.missing) == {"mine/trial1"}
    later.keep("mine/trial1", {"columns": columns([{"size": 3, "gap": 0.0}])})
    rows = list(later.rows(["criterion", "size", "gap"]))
    assert [row["size"] for row in rows] == [1, 2, 3]
    assert rows[0] == {"criterion": "mine", "size": 1, "gap": 0.5}
    later.write_table(tmp_path / "table.csv", ["size", "gap"], tmp_path / "table.json")
    assert (tmp_path / "table.csv").read_text() == "size,gap\n1,0.5\n2,0.25\n3,0.0\n"
    require(tmp_path / "table.json", joint_key(later.tasks))


def test_consumed_files_must_be_of_the_key_in_the_task(store, tmp_path):
    parts = {"model": "a key", "scores": {"fc1": "another key"}}
    stems = {"model": str(tmp_path / "model"), "scores": {"fc1": str(tmp_path / "features.7")}}
    work = Work(store.root, {"curve": {"key": "mine", "parts": parts, "consumes": stems, "stem": None, "names": {}}})
    for name, key in (("model", "a key"), ("features.7", "another key")):
        (tmp_path / f"{name}.json").write_text(json.dumps({"task": {"key": key}}))
    assert work.consumed("curve", "model") == str(tmp_path / "model")
    assert work.consumed("curve", "scores", "fc1") == str(tmp_path / "features.7")
    (tmp_path / "features.7.json").write_text(json.dumps({"task": {"key": "a third one"}}))
    with pytest.raises(ShapPruneError, match=r"features\.7\.json is not of the present configuration and code"):
        work.consumed("curve", "scores", "fc1")


def test_a_file_of_another_task_is_refused(store, tmp_path):
    path = tmp_path / "model.json"
    for content in ({"task": {"key": "other"}}, {}):
        path.write_text(json.dumps(content))
        with pytest.raises(ShapPruneError, match=r"model\.json is not of the present configuration and code"):
            require(path, task().key)
