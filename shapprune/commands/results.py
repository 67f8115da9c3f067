"""What ``prune`` measures of the two networks, writes and prints."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shapprune.commands.arguments import MODEL, ONNX
from shapprune.commands.measuring import Evaluation, measure_before, open_evaluation
from shapprune.commands.opening import Opened
from shapprune.core.errors import ShapPruneError
from shapprune.gpu.device import machine_facts
from shapprune.graph.counting import count_bytes, count_macs, count_parameters
from shapprune.graph.outputs import are_close
from shapprune.networks.export import export_onnx
from shapprune.networks.latency import measure_latencies
from shapprune.networks.modes import mode
from shapprune.networks.storage import load, save

# What is counted of a network, its title, how many make one of the title, and digits.
_SIZES = (("macs", "MACs", 1, 0), ("parameters", "parameters", 1, 0), ("bytes", "megabytes", 1_000_000, 3))


def try_onnx(model: nn.Module, example: Tensor) -> None:
    """Raise unless a network can be exported, before it is scored."""
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, Path(folder) / ONNX, example)


def try_storage(model: nn.Module, opened: Opened) -> None:
    """Raise unless a network that is saved and loaded again computes the same; nothing is left of the file.

    Args:
        model: the network, the one that was opened or a smaller one.
        opened: what builds it, and images.
    """
    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), mode(model, training=False):
        save(model, path := Path(folder) / MODEL)
        back = load(path, lambda: opened.checkpoint.fresh(opened.data.shape)).to(opened.device)
        if not are_close(back(opened.example), model(opened.example)):
            raise ShapPruneError(
                f"{opened.checkpoint.architecture} cannot be saved: loaded again, it computes something else; part of"
                " it is not in its state_dict()"
            )


@dataclass(frozen=True)
class Comparison:
    """A network beside a smaller one that is made of it.

    Attributes:
        arguments: of the command.
        opened: the network before, and the images.
        evaluation: the images that loss and accuracy are measured on; None where there are no classes.
        before: loss and accuracy of the network before, where they can be measured.
    """

    arguments: argparse.Namespace
    opened: Opened
    evaluation: Evaluation | None
    before: Mapping[str, float]

    @classmethod
    def begin(cls, arguments: argparse.Namespace, opened: Opened) -> Comparison:
        """Check that results can be measured and written, before anything long; print the images and a first line."""
        evaluation = open_evaluation(opened.data, arguments)
        try_storage(opened.model, opened)
        if arguments.onnx:
            try_onnx(opened.model, opened.example)
        print(opened.data, flush=True)
        return cls(
            arguments, opened, evaluation, {} if evaluation is None else measure_before(evaluation, opened.model)
        )

    def write(self, folder: Path, small: nn.Module, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Measure a smaller network and write it with its manifest.

        Args:
            folder: where it goes.
            small: the network.
            facts: what its manifest says of how it was made.

        Returns:
            These facts, and what was measured ``before`` and ``after``.
        """
        after = {} if self.evaluation is None else self.evaluation.measure(small)
        sizes = measure_sizes(self.opened.model, small, self.opened.example, self.arguments)
        measured: dict[str, Any] = {
            "before": {**self.before, **sizes["before"]},
            "after": {**after, **sizes["after"]},
        }
        if self.evaluation is not None:
            measured["evaluation_images"] = len(self.evaluation.places)
        found = {**facts, **measured}
        write_results(folder, self.opened, small, found, onnx=self.arguments.onnx)
        return found


def measure_sizes(
    whole: nn.Module, small: nn.Module, example: Tensor, arguments: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Measure parameters, MACs, bytes and latency, in turns, ``before`` and ``after``."""
    models = (whole, small)
    times = measure_latencies(models, example, batch=arguments.batch, threads=arguments.threads)
    sizes = [
        {
            "parameters": count_parameters(model),
            "macs": count_macs(model, example),
            "bytes": count_bytes(model),
            "latency": asdict(latency),
        }
        for model, latency in zip(models, times, strict=True)
    ]
    return dict(zip(("before", "after"), sizes, strict=True))


def write_results(folder: Path, opened: Opened, model: nn.Module, facts: Mapping[str, Any], onnx: bool) -> None:
    """Write a smaller network with its manifest, and as ONNX if that is asked for.

    Args:
        folder: where it goes.
        opened: the network before, and the images.
        model: the smaller network.
        facts: what its manifest says beside what both roads have in common.
        onnx: whether it is written as ONNX too.
    """
    try_storage(model, opened)
    (folder / ONNX).unlink(missing_ok=True)  # an earlier run may have left one, of another network
    common = {
        "network": opened.checkpoint.builder(),
        "outputs": opened.outputs,
        "data": opened.data.facts(),
        "checkpoint": {"file": opened.checkpoint.path.name, "sha256": opened.checkpoint.sha256},
    }
    save(model, folder / MODEL, **common, **facts, **machine_facts(opened.device))
    if onnx:
        export_onnx(model, folder / ONNX, opened.example)


def print_comparison(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Print a table of both networks; loss and accuracy only where they were measured."""
    rows = [("", "before", "after", "")]
    for name, title, scale, digits in _SIZES:
        share = f"{after[name] / before[name]:.0%}"
        whole, small = (f"{each[name] / scale:,.{digits}f}" for each in (before, after))
        rows.append((title, whole, small, share))
    for name in ("loss", "accuracy"):
        if name in before:
            rows.append((name, f"{before[name]:.4f}", f"{after[name]:.4f}", f"{after[name] - before[name]:+.4f}"))
    times = [each["latency"]["median_ms"] for each in (before, after)]
    rows.append(("milliseconds", f"{times[0]:.3f}", f"{times[1]:.3f}", f"{times[1] / times[0]:.0%}"))
    for title, *cells in rows:
        print(f"{title:12}" + "".join(f"{cell:>16}" for cell in cells).rstrip())
    latency = after["latency"]
    print(f"milliseconds: batch {latency['batch']}, threads {latency['threads']}, {latency['device']}")
