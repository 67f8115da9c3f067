"""Leases of GPUs: no two jobs on one node use the same device unless they agree to share it.

A job holds a device by a lock file while it lives. The kernel releases the lock when the job ends, for whatever reason.
Locks have the names of physical devices and are in one folder of the node, so they work across runs that number devices
differently. Devices that a scheduler has assigned are used as they are.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.core.files import read_json, write_json
from shapprune.gpu.devices import VISIBLE, cuda_has_started, pool

LOCKS = "SHAPPRUNE_GPU_LOCKS"  # the folder of the locks
SWITCH = "SHAPPRUNE_GPU_LEASE"  # off: devices are used as given, on: leased even within a job of Slurm
PATIENCE = 60.0  # seconds between two messages about what a job waits for

_TEMPORARY = "/tmp"  # noqa: S108  others could make the folder first: `lock_folder` checks its owner
_NUMBERS = itertools.count()

Held = dict[int, dict]  # the slots of a device that are held -> the note of the holder


@contextmanager
def lease(count: int = 1, slots: int = 1, *, work: str = "", patience: float | None = None) -> Iterator[list[str]]:
    """Hold GPUs during a block, and make only these visible to CUDA.

    It must begin before this process uses CUDA. All devices are taken at once. Until enough are free it waits, and
    reports every minute on standard error who holds them. A lease inside a lease, also in a child process, takes
    devices of the outer one.

    Args:
        count: number of devices. With 0 CUDA sees none inside the block.
        slots: number of jobs that may share a device, this one included. Jobs share a device only if all of them allow
            it.
        work: description of this job for others that wait; by default the command.
        patience: seconds between two messages; by default `PATIENCE`.

    Yields:
        The names of the devices in ``CUDA_VISIBLE_DEVICES``; empty without a GPU. All visible devices if a scheduler
        has assigned them (``SLURM_JOB_ID`` is set) or ``SHAPPRUNE_GPU_LEASE`` is ``off``.

    Raises:
        ShapPruneError: more devices than exist, CUDA has started, or the folder of the locks cannot be used.

    Examples:
        Hide all GPUs from what runs in the block:

        >>> import os
        >>> import shapprune
        >>> with shapprune.gpu.lease(0) as devices:
        ...     devices, os.environ["CUDA_VISIBLE_DEVICES"]
        ([], '')

        With ``lease(1)`` the block has a GPU of its own, where there is one.
    """
    if count < 0 or slots < 1:
        raise ShapPruneError(f"a lease of {count} GPUs with {slots} jobs on each: 0 or more and 1 or more are allowed")
    devices = pool() if count else {}
    if count and (not devices or not is_on()):
        yield list(devices)
        return
    if count > len(devices):
        raise ShapPruneError(f"{count} GPUs are asked for and {_number(len(devices))} visible: {', '.join(devices)}")
    if cuda_has_started():
        raise ShapPruneError("CUDA has started in this process, which fixes its devices; take the lease before that")
    if count == 0:
        with _environment({VISIBLE: ""}):
            yield []
        return
    folder = lock_folder()
    about = {"pid": os.getpid(), "work": work or " ".join(sys.argv), "slots": slots}
    inner = folder / f"within-{os.getpid()}-{next(_NUMBERS)}"
    with ExitStack() as stack:
        try:
            taken = _wait(devices, count, about, folder, PATIENCE if patience is None else patience, stack)
        except OSError as error:
            raise _unusable(folder, error) from error
        # Indices are those of NVML, by which the locks are named, and not by speed, as CUDA has them unless it is told.
        order = {"CUDA_DEVICE_ORDER": os.environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID")}
        stack.callback(shutil.rmtree, inner, ignore_errors=True)
        with _environment({VISIBLE: ",".join(taken), LOCKS: str(inner), **order}):
            yield taken


def is_on() -> bool:
    """Whether devices are leased: as ``SHAPPRUNE_GPU_LEASE`` says, else unless a scheduler has assigned them.

    Raises:
        ShapPruneError: ``SHAPPRUNE_GPU_LEASE`` is neither on nor off.
    """
    switch = os.environ.get(SWITCH, "")
    if switch not in ("", "on", "off"):
        raise unknown(f"value of {SWITCH}", switch, ("on", "off"))
    return switch == "on" or (switch == "" and "SLURM_JOB_ID" not in os.environ)


def lock_folder() -> Path:
    """The folder of the locks, made if it is missing: the one in ``SHAPPRUNE_GPU_LOCKS``, or the user's in /tmp.

    Raises:
        ShapPruneError: it cannot be used.
    """
    given = os.environ.get(LOCKS)
    # TMPDIR does not count: two runs of a user may differ in it.
    temporary = _TEMPORARY if os.access(_TEMPORARY, os.W_OK | os.X_OK) else tempfile.gettempdir()
    folder = Path(given or f"{temporary}/shapprune-gpu-{os.getuid()}")
    if not folder.is_absolute():
        raise ShapPruneError(f"{LOCKS}={given} is no absolute path, so each run would have a folder of its own")
    try:
        folder.mkdir(mode=0o777 if given else 0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
    except OSError as error:
        raise _unusable(folder, error) from error
    if not given and (facts.st_uid != os.getuid() or not stat.S_ISDIR(facts.st_mode)):
        raise ShapPruneError(f"{folder}, for locks of GPUs, belongs to somebody else; name another folder in {LOCKS}")
    return folder


def describe(slots: int = 1, cap: int | None = None) -> str | None:
    """Describe the devices, the number of jobs they take, and the folder of the locks, for the start of a run.

    Args:
        slots: number of jobs that share a device.
        cap: number of jobs that may ask for a device at a time, if limited.

    Returns:
        A line, or None if no device is shared out.
    """
    devices = pool() if cap != 0 else {}
    line = f"GPUs: {', '.join(name[:12] for name in devices)}"
    if not is_on():
        lone = len(devices) < 2 or SWITCH in os.environ
        return None if lone else f"{line}, as Slurm assigned them, all jobs on the first; {SWITCH}=on shares them out"
    if not devices:
        return None
    places = len(devices) * slots
    shared = f", {slots} jobs on each" if slots > 1 else ""
    line = f"{line}{shared}; locks in {lock_folder()}; "
    if cap is None or cap > places:
        start = "any number of" if cap is None else cap
        only = f"{start} jobs may ask for one, {places} get it and the others wait with their cores"
        return f"{line}{only}: give --resources gpu={places}"
    return f"{line}up to {cap} jobs at a time (--resources gpu={cap})"


def _wait(
    devices: Mapping[str, str], count: int, about: dict, folder: Path, patience: float, stack: ExitStack
) -> list[str]:
    """Wait until the devices could be taken, and return their names; the stack releases them."""
    began = reported = time.monotonic()
    pause = 0.05
    while True:
        taken, held = _take(devices, count, about, folder, stack)
        if taken:
            return taken
        if time.monotonic() - reported >= patience:
            reported = time.monotonic()
            wanted = "a GPU" if count == 1 else f"{count} GPUs"
            print(f"waiting for {wanted} since {reported - began:.0f} s; {_holders(held)}", file=sys.stderr, flush=True)
        # A random pause, so that waiting jobs do not ask at the same time.
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311
        pause = min(2 * pause, 1.0)


def _take(
    devices: Mapping[str, str], count: int, about: dict, folder: Path, stack: ExitStack
) -> tuple[list[str], dict[str, Held]]:
    """Take the least used devices, all or none; return their names, and who holds what.

    One process at a time decides, so what it sees only changes by jobs that end.
    """
    from filelock import FileLock

    with FileLock(folder / "allocator.lock", mode=0o666):
        held = {name: _held(folder, device) for name, device in devices.items()}
        free = [name for name in devices if len(held[name]) < _allowed(held[name], about["slots"])]
        if len(free) < count:
            return [], held
        taken = sorted(free, key=lambda name: len(held[name]))[:count]
        for name in taken:
            slot = next(each for each in itertools.count() if each not in held[name])
            stack.enter_context(_holding(_lock_of(folder, devices[name], slot), about))
        return taken, held


@contextmanager
def _holding(path: Path, about: dict) -> Iterator[None]:
    """Hold a free lock, with a note about the holder."""
    from filelock import FileLock

    note = path.with_suffix(".json")
    with FileLock(path, mode=0o666, blocking=False):  # all who may use the folder may use its locks
        write_json(note, about)
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


def _held(folder: Path, device: str) -> Held:
    """The slots of a device that are held, with the notes about the holders."""
    from filelock import FileLock, Timeout

    found: Held = {}
    for path in folder.glob(_lock_of(Path(), device, "*").name):
        try:
            with FileLock(path, mode=0o666, blocking=False):
                pass  # free: its job has ended or was killed
        except Timeout:
            try:
                found[int(path.stem.rpartition(".")[2])] = read_json(path.with_suffix(".json"))
            except ShapPruneError:  # its job is about to end
                found[int(path.stem.rpartition(".")[2])] = {}
    return found


def _lock_of(folder: Path, device: str, slot: int | str) -> Path:
    return folder / f"{re.sub(r'[^A-Za-z0-9_-]', '_', device)}.{slot}.lock"


def _allowed(held: Held, slots: int) -> int:
    """The number of jobs that a device takes: the least that one of them allows."""
    return min([slots, *(about.get("slots", 1) for about in held.values())])


def _holders(held: Mapping[str, Held]) -> str:
    """The holders of devices, in words."""
    holders = [
        f"{name} by process {about.get('pid', '?')} ({about.get('work', 'unknown')})"
        for name, slots in held.items()
        for about in slots.values()
    ]
    return f"held are {'; '.join(holders)}" if holders else "none is held, but not enough were free at a time"


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables inside the block, and restore them afterwards."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _unusable(folder: Path, error: OSError) -> ShapPruneError:
    reason = error.strerror or str(error)
    return ShapPruneError(f"the locks of GPUs cannot be kept in {folder} ({reason}); name another folder in {LOCKS}")


def _number(count: int) -> str:
    return "1 is" if count == 1 else f"{count} are"
