"""``prune``: from a checkpoint to a smaller network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapprune.commands.arguments import (
    Subparsers,
    add_data,
    add_network,
    add_scoring,
    check_folder,
    new_command,
)
from shapprune.core.errors import ShapPruneError, unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from shapprune.commands.choosing import Pruned
    from shapprune.commands.scoring import Task

MODEL, ONNX = "model.safetensors", "model.onnx"
TURNS = 3  # in which latencies are measured
REPAIRS = ("none", "batchnorm", "least-squares")  # of shapprune.pruning.repair, which imports torch


def add_command(commands: Subparsers) -> None:
    """Add the command with its arguments."""
    parser = new_command(
        commands,
        "prune",
        run,
        "make a network smaller",
        "Score the units of a network, remove those that matter least, and write the smaller network with a manifest\n"
        "of how it was made and what it has lost.",
        "--checkpoint net.pth --architecture my_package.models:build --data photos/ --ratio 0.5 --out small/",
    )
    add_network(parser)
    add_data(parser)
    add_scoring(parser)
    group = parser.add_argument_group("which units leave")
    choice = group.add_mutually_exclusive_group(required=True)
    choice.add_argument("--ratio", type=float, metavar="R", help="this share of the units of each layer")
    choice.add_argument("--widths", metavar="YAML", help="all but so many of these layers, e.g. '{conv1: 16}'")
    choice.add_argument("--negative", action="store_true", help="those with a negative score")
    choice.add_argument(
        "--loss-growth",
        type=float,
        metavar="G",
        help="of each layer so many that the loss on the scoring images grows by no more than this share, e.g. 0.05",
    )
    choice.add_argument("--parameters", type=int, metavar="N", help="so many that the network has N parameters at most")
    choice.add_argument("--macs", type=int, metavar="N", help="so many that an image takes N multiply-accumulates")
    group.add_argument("--multiple", type=int, default=1, metavar="M", help="keep a multiple of M units in each layer")
    group.add_argument("--skip", nargs="+", default=[], metavar="LAYER", help="leave these layers whole")
    group.add_argument("--scores", type=Path, metavar="FOLDER", help="use the scores that `score` has written")
    group.add_argument(
        "--sequential",
        action=argparse.BooleanOptionalAction,
        help="layer by layer from the output, each scored on what is left of the network; the default without --scores",
    )
    group.add_argument(
        "--repair",
        default="none",
        metavar="HOW",
        help="mend what is left with the scoring images after each step: none (default), batchnorm or least-squares",
    )
    group = parser.add_argument_group("results")
    group.add_argument("--out", type=Path, required=True, metavar="FOLDER", help=f"where {MODEL} and model.json go")
    group.add_argument("--onnx", action="store_true", help=f"write {ONNX} too (pip install 'shapprune[onnx]')")
    group.add_argument("--batch", type=int, default=1, metavar="N", help="images in a pass that is timed; default: 1")
    group.add_argument("--threads", type=int, metavar="N", help="threads of a pass that is timed; default: torch's")


def run(given: argparse.Namespace) -> None:
    """Prune, measure, write and print what came of it.

    Raises:
        ShapPruneError: a bad argument; nothing is written then.
    """
    _check(given)
    from shapprune.commands.choosing import plan_choice, prune
    from shapprune.commands.images import measure
    from shapprune.commands.scoring import open_task

    task = open_task(given)
    choice = plan_choice(given, task)
    places = task.data.draw("evaluation", given.evaluate, given.seed)
    example = task.data.evaluation.read(places[:8]).to(task.device)
    if given.onnx:
        _try_onnx(task.model, example)
    print(task.data, flush=True)
    losses = [measure(task.model, task.data.evaluation, places)]  # first, so that an image that cannot be read is found
    print(f"before: loss {losses[0][0]:.4f}, accuracy {losses[0][1]:.4f} on {len(places)} images", flush=True)
    pruned = prune(task, choice)
    losses.append(measure(pruned.model, task.data.evaluation, places))
    sizes = _sizes([task.model, pruned.model], example, given)
    before, after = (
        {"loss": loss, "accuracy": accuracy, **size} for (loss, accuracy), size in zip(losses, sizes, strict=True)
    )
    _write(given, task, pruned, {"before": before, "after": after, "evaluation_images": len(places)}, example)
    _tell(before, after)


def _check(given: argparse.Namespace) -> None:
    """Refuse what can be refused before anything is loaded."""
    check_folder(given.out)
    for name in ("batch", "threads", "multiple"):
        if getattr(given, name) is not None and getattr(given, name) < 1:
            raise ShapPruneError(f"--{name} {getattr(given, name)} is not 1 or more")
    if given.repair not in REPAIRS:
        raise unknown("repair", given.repair, REPAIRS)
    if given.scores is not None:
        for name in ("criterion", "criterion_options", "payoff", "sequential"):
            if getattr(given, name):
                option = f"--{name.replace('_', '-')}"
                raise ShapPruneError(f"{option} cannot be given with --scores, which were made before")
    if given.onnx:
        from shapprune.networks.export import require_onnx

        require_onnx()


def _try_onnx(model: nn.Module, example: Tensor) -> None:
    """Refuse a network that cannot be exported, before it is scored."""
    import tempfile

    from shapprune.networks.export import export_onnx

    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, Path(folder) / ONNX, example)


def _sizes(models: Sequence[nn.Module], example: Tensor, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Parameters, MACs and latency of networks."""
    from dataclasses import asdict

    from shapprune.graph.counting import count_macs, count_parameters
    from shapprune.networks.latency import measure_latency

    # By turns, and of each network the fastest turn, so that another program that is busy for a while does not decide.
    turns = [
        [measure_latency(model, example, batch=given.batch, threads=given.threads) for model in models]
        for _ in range(TURNS)
    ]
    fastest = [min(times, key=lambda each: each.median_ms) for times in zip(*turns, strict=True)]
    return [
        {"parameters": count_parameters(model), "macs": count_macs(model, example), "latency": asdict(latency)}
        for model, latency in zip(models, fastest, strict=True)
    ]


def _write(given: argparse.Namespace, task: Task, pruned: Pruned, measured: dict[str, Any], example: Tensor) -> None:
    from shapprune.gpu.device import machine_facts
    from shapprune.networks.export import export_onnx
    from shapprune.networks.storage import save

    (given.out / ONNX).unlink(missing_ok=True)  # of a run before, it would be of another network
    facts = {
        "network": task.checkpoint.told(),
        "outputs": task.outputs,
        "data": task.data.facts(),
        "checkpoint": {"file": task.checkpoint.path.name, "sha256": task.checkpoint.sha256},
        **pruned.facts,
        **measured,
        **machine_facts(task.device),
    }
    save(pruned.model, given.out / MODEL, **facts)
    if given.onnx:
        export_onnx(pruned.model, given.out / ONNX, example)


def _tell(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Print a table of what was lost and won."""
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
    how = after["latency"]
    print(f"latency: batch {how['batch']}, threads {how['threads']}, {how['device']}")
