"""What ``prune`` measures of the two networks, writes and prints."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from shapprune.commands.arguments import MODEL, ONNX
from shapprune.commands.choosing import Pruned
from shapprune.commands.scoring import Scoring
from shapprune.gpu.device import machine_facts
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.networks.export import export_onnx
from shapprune.networks.latency import measure_latency
from shapprune.networks.storage import save

_ROUNDS = 3  # in which networks are timed by turns


def try_onnx(model: nn.Module, example: Tensor) -> None:
    """Raise unless a network can be exported, before it is scored."""
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, Path(folder) / ONNX, example)


def measure_sizes(models: Sequence[nn.Module], example: Tensor, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure parameters, MACs and latency of networks."""
    # By turns, and of each network the fastest turn: so another program that is busy for a while does not decide.
    rounds = [
        [measure_latency(model, example, batch=arguments.batch, threads=arguments.threads) for model in models]
        for _ in range(_ROUNDS)
    ]
    fastest = [min(times, key=lambda each: each.median_ms) for times in zip(*rounds, strict=True)]
    return [
        {"parameters": count_parameters(model), "macs": count_macs(model, example), "latency": asdict(latency)}
        for model, latency in zip(models, fastest, strict=True)
    ]


def write_results(
    arguments: argparse.Namespace, scoring: Scoring, pruned: Pruned, measured: Mapping[str, Any], example: Tensor
) -> None:
    """Write the smaller network with its manifest, and as ONNX if that is asked for."""
    (arguments.out / ONNX).unlink(missing_ok=True)  # an earlier run may have left one, of another network
    facts = {
        "network": scoring.checkpoint.builder(),
        "outputs": scoring.outputs,
        "data": scoring.data.facts(),
        "checkpoint": {"file": scoring.checkpoint.path.name, "sha256": scoring.checkpoint.sha256},
        **pruned.facts,
        **measured,
        **machine_facts(scoring.device),
    }
    save(pruned.model, arguments.out / MODEL, **facts)
    if arguments.onnx:
        export_onnx(pruned.model, arguments.out / ONNX, example)


def print_comparison(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Print a table of both networks."""
    rows = [("", "before", "after", "")]
    for name, title in (("parameters", "parameters"), ("macs", "MACs")):
        share = f"{after[name] / before[name]:.0%}"
        rows.append((title, f"{before[name]:,}", f"{after[name]:,}", share))
    for name in ("loss", "accuracy"):
        rows.append((name, f"{before[name]:.4f}", f"{after[name]:.4f}", f"{after[name] - before[name]:+.4f}"))
    times = [each["latency"]["median_ms"] for each in (before, after)]
    rows.append(("latency, ms", f"{times[0]:.3f}", f"{times[1]:.3f}", f"{times[1] / times[0]:.0%}"))
    for title, *cells in rows:
        print(f"{title:11}" + "".join(f"{cell:>16}" for cell in cells).rstrip())
    latency = after["latency"]
    print(f"latency: batch {latency['batch']}, threads {latency['threads']}, {latency['device']}")
