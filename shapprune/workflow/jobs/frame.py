"""The frame of a job of the workflow: its log, its threads, and errors as sentences."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from shapprune.core.errors import ShapPruneError
from shapprune.workflow.store.work import Work


@contextmanager
def job(log: str, threads: int = 1, gpus: int | None = None, slots: int = 1) -> Iterator[None]:
    """Run a job: what it prints goes into ``log``, a ShapPruneError ends it with its sentence and exit code 1.

    Args:
        log: the log file; it is written anew.
        threads: how many threads numerical libraries may take; set before they are imported.
        gpus: how many GPUs are leased for as long as the job runs, before CUDA can be started; where there are none it
            runs without. With 0 CUDA is shown none, and with None nothing is done about them.
        slots: how many jobs may share a GPU.
    """
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    os.environ["MPLBACKEND"] = "agg"  # that of a notebook need not exist here, and figures are files
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", buffering=1, encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            with nullcontext() if gpus is None else _leased(gpus, slots, log):
                yield
        except ShapPruneError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            raise SystemExit(1) from None
        except Exception:  # noqa: BLE001  only the log can tell of it
            traceback.print_exc()
            raise SystemExit(1) from None


@contextmanager
def _leased(gpus: int, slots: int, log: str) -> Iterator[None]:
    from shapprune.gpu.leases import lease

    with lease(gpus, slots, work=os.path.abspath(log)) as devices:
        if devices:
            print(f"on GPU {', '.join(devices)}", flush=True)
        yield


@contextmanager
def stored_job(snakemake: Any) -> Iterator[Work]:
    """Run a job whose results are kept, as `job` does, on a GPU if its rule asks for one.

    The results that the store has are there when the block is entered. Where the tasks make a table, it is written
    when the block ends.

    Args:
        snakemake: the object of that name in the job's script.
    """
    given, resources, output = snakemake.params, snakemake.resources, snakemake.output
    with job(snakemake.log[0], snakemake.threads, resources.get("gpu"), resources.get("gpu_slots", 1)):
        work = Work(resources.store, given.tasks, given.unfinished)
        work.find()
        yield work
        if columns := given.get("columns"):
            work.write_table(output.table, columns, output.manifest)


@contextmanager
def answering_job(log: str) -> Iterator[Callable[[str], None]]:
    """Run a job that answers a person, on the terminal and in ``log``; errors as in `job`."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as file:

        def say(line: str) -> None:
            print(line, flush=True)
            print(line, file=file, flush=True)

        try:
            yield say
        except ShapPruneError as error:
            say(f"error: {error}")
            raise SystemExit(1) from None


def add_to_path(folder: str) -> None:
    """Add a folder to the import path of the jobs that this process starts, whatever environment they run in."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if folder not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, *filter(None, paths)])
