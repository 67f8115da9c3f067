"""Measures methods, or finds in the store what was measured before, and writes the table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.cases import open_network
from benchmarks.low_data.accounting import Calibration, FailedError, RefusedError, Started, Unseen, measure
from benchmarks.low_data.methods import Method
from benchmarks.low_data.networks import Network, find_weights
from benchmarks.low_data.rows import NOTHING, Row, Table
from shapprune.core.resolve import resolve_function
from shapprune.data.prepared import ImageSet, draw_images, tensors
from shapprune.data.sets import KNOWN_MD5
from shapprune.gpu.device import choose_device
from shapprune.networks.tables import builder_functions
from shapprune.workflow.store.keys import Task, code_of
from shapprune.workflow.store.store import Record, Store

_BITS = "right.npy"


class Measurement(Task):
    """A row: its code is that of the accounting, of the method, and of the network."""

    @cached_property
    def code(self) -> Mapping[str, str]:
        """The fingerprint of each file of its code."""
        return code_of(Path(__file__).with_name("accounting.py"), self.functions)


@dataclass(frozen=True)
class Settings:
    """What a run is of.

    Attributes:
        methods: name -> method.
        images: training images that a method may have.
        draws: of them.
        budgets: shares of the multiply-accumulates.
        weights: the folder with the weights.
        device: see `shapprune.gpu.device.choose_device`.
    """

    methods: Mapping[str, Method]
    images: int
    draws: int
    budgets: Sequence[float]
    weights: Path
    device: str = "auto"


class Opened:
    """A network of the benchmark with its images; loaded when first used.

    Args:
        network: which.
        settings: of the run.

    Raises:
        ShapPruneError: its weights are missing, or not those of the benchmark.
    """

    def __init__(self, network: Network, settings: Settings):
        self.network, self._settings = network, settings
        self._path, self.sha256 = find_weights(network, settings.weights)

    @cached_property
    def _case(self) -> tuple[torch.nn.Module, ImageSet]:
        _, _, model, image_set = open_network(f"{self.network.architecture}={self._path}", self.network.data)
        return model.to(choose_device(self._settings.device)), image_set

    @cached_property
    def unseen(self) -> Unseen:
        """All test images."""
        model, image_set = self._case
        return Unseen(model, *map(self._placed, tensors(image_set, "test")))

    def calibration(self, draw: int) -> Calibration:
        """The images of a draw."""
        model, image_set = self._case
        chosen = draw_images(np.arange(len(image_set.train_labels)), self._settings.images, draw)
        images, labels = tensors(image_set, "train", chosen)
        return Calibration(model, self._placed(images), self._placed(labels), draw)

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(choose_device(self._settings.device))


def run(networks: Sequence[Network], settings: Settings, out: Path, store: Store) -> int:
    """Measure what is not in the store, and write the table after each row.

    Returns:
        How many rows failed.

    Raises:
        ShapPruneError: a method that cannot be imported, or weights that are missing; before anything is measured.
    """
    functions = {name: resolve_function(method.function, "method") for name, method in settings.methods.items()}
    opened = [Opened(network, settings) for network in networks]
    table, failed = Table.read(out), 0
    for each in opened:
        _leave_out_stale(table, each, settings)
        for row, right in _rows(each, settings, functions, store):
            table.add(row, right)
            table.write(out)
            failed += bool(row["failed"])
            found = row["failed"] or f"accuracy {row['accuracy']:.4f}, {row['cpu_seconds']:.0f} CPU seconds"
            print(
                f"{row['net']} draw {row['draw']}, {row['method']}, {row['budget']:g} of the MACs: {found}", flush=True
            )
    return failed


def _leave_out_stale(table: Table, opened: Opened, settings: Settings) -> None:
    """Take rows out of a table that are of another code of a method, so that it does not mix with the present one."""
    network, images = opened.network, str(settings.images)
    for row in list(table.rows.values()):
        of = (row["net"], row["weights"], str(row["images"]))
        if of == (network.architecture, network.file, images) and row["method"] in settings.methods and row["key"]:
            method, place = settings.methods[row["method"]], (int(row["draw"]), float(row["budget"]))
            if _task(opened, method, settings.images, *place).key != row["key"]:
                print(f"{row['method']} draw {row['draw']}, {row['budget']} of the MACs: of earlier code, left out")
                table.remove(row)


def _rows(
    opened: Opened, settings: Settings, functions: Mapping[str, Callable[..., Any]], store: Store
) -> Iterator[tuple[Row, np.ndarray | None]]:
    """The rows of a network, from the store or measured."""
    for draw in range(settings.draws):
        calibration = cache(partial(opened.calibration, draw))
        for name, method in settings.methods.items():
            start = cache(partial(_start, functions[name], method, calibration))
            about = {"net": opened.network.architecture, "weights": opened.network.file, "images": settings.images}
            about |= {"draw": draw, "method": name}
            for budget in settings.budgets:
                task = _task(opened, method, settings.images, draw, budget)
                record = store.find(task.key)
                if record is None:
                    facts, right = _measured(opened, start, calibration, task, store)
                else:
                    facts, right = _kept(record)
                yield {**NOTHING, **about, "budget": budget, **facts, "key": task.key}, right


def _start(function: Callable[..., Any], method: Method, calibration: Callable[[], Calibration]) -> Started:
    return Started(function, method.options, calibration())


def _task(opened: Opened, method: Method, images: int, draw: int, budget: float) -> Measurement:
    network = opened.network
    parts = {
        "network": {"architecture": network.architecture, "weights": opened.sha256, "data": KNOWN_MD5[network.data]},
        "method": {"function": method.function, "options": dict(method.options)},
        "images": images,
        "draw": draw,
        "budget": budget,
    }
    builders = (*builder_functions(network.architecture), "shapprune.networks.weights:load_weights")
    return Measurement("low_data", parts, (*method.functions, *builders))


def _measured(
    opened: Opened,
    start: Callable[[], Started],
    calibration: Callable[[], Calibration],
    task: Measurement,
    store: Store,
) -> tuple[dict[str, Any], np.ndarray | None]:
    """A row, which is kept unless the method raised an error: the reason may lie outside it."""
    try:
        facts, bits = measure(start(), task.parts["budget"], calibration(), opened.unseen)
        right = np.packbits(bits)
    except RefusedError as error:
        facts, right = {"failed": str(error)}, None
    except FailedError as error:
        return {"failed": str(error)}, None
    _keep(store, task, facts, right)
    return facts, right


def _keep(store: Store, task: Measurement, facts: Mapping[str, Any], right: np.ndarray | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        if right is not None:
            files[_BITS] = Path(folder) / _BITS
            np.save(files[_BITS], right, allow_pickle=False)
        try:
            store.put(task, facts, files)
        except OSError as error:
            print(f"store: a row could not be kept in {store.root} ({error.strerror})", flush=True)


def _kept(record: Record) -> tuple[dict[str, Any], np.ndarray | None]:
    right = np.load(record.folder / _BITS, allow_pickle=False) if _BITS in record.files else None
    return record.facts, right
