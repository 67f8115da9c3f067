"""``score``: scores of the units of a network's layers, as files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from shapprune.commands.arguments import (
    Subparsers,
    add_data,
    add_kinds,
    add_network,
    add_scoring,
    check_folder,
    new_command,
)
from shapprune.core.errors import ShapPruneError

if TYPE_CHECKING:
    from shapprune.commands.scoring import Scoring
    from shapprune.shapley.scores import UnitScores


def add_command(commands: Subparsers) -> None:
    """Add the command with its arguments."""
    parser = new_command(
        commands,
        "score",
        run,
        "score the units of a network's layers",
        "Score the units of each layer that can lose any, high = keep, and write LAYER.npz (values [images, units])\n"
        "and LAYER.json (cost, settings). Layers that were written with the same settings are not scored again.\n"
        "With --branches or --blocks score these, as branches.npz or blocks.npz. By default a score says how far the\n"
        "outputs are from those of the whole network where one alone is skipped, so images need no classes.",
        "--checkpoint net.pth --architecture my_package.models:build --data photos/ --out scores/",
    )
    add_network(parser)
    add_data(parser, evaluated=False)
    add_scoring(parser)
    add_kinds(parser, "score")
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="by default all that can lose units")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the files go")


def run(arguments: argparse.Namespace) -> None:
    """Score layer by layer; write the scores of each and print a line.

    Raises:
        ShapPruneError: a bad argument; nothing is written then.
    """
    check_folder(arguments.out)
    for name in ("layers", "coupled"):
        if arguments.kind is not None and getattr(arguments, name):
            raise ShapPruneError(f"--{name} is about layers, so it does not go with --{arguments.kind}")
    from shapprune.commands.opening import check_criterion
    from shapprune.commands.scoring import check_layers, open_scoring
    from shapprune.pruning.branches import prunable_branches

    scoring = open_scoring(arguments)
    layers = arguments.layers or list(scoring.units)
    check_layers(layers, scoring)
    check_criterion(scoring.criterion, {layer: scoring.units[layer] for layer in layers}, scoring)
    print(scoring.data, flush=True)
    wide = max(map(len, ["layer", *layers]))
    print(f"{'layer':{wide}}  units      lowest     highest  negative  seconds")
    for layer in layers:
        scores, stored = _read_or_score(scoring, layer, arguments.out)
        values = scores.aggregate(scoring.aggregate)
        cost = "   stored" if stored else f"{scores.seconds:9.2f}"
        print(
            f"{layer:{wide}}  {len(values):5}  {values.min():10.4g}  {values.max():10.4g}  {int((values < 0).sum()):8}"
            f"{cost}",
            flush=True,
        )
    if arguments.kind is not None:
        names = [part.name for part in prunable_branches(scoring.model, scoring.example, arguments.kind)]
        print(f"first to leave: {', '.join(names[place] for place in scores.order(scoring.aggregate))}")


def _read_or_score(scoring: Scoring, layer: str, folder: Path) -> tuple[UnitScores, bool]:
    """Read the scores of a layer, or make and write them; also whether they were read."""
    from shapprune.core.files import read_json
    from shapprune.gpu.device import machine_facts
    from shapprune.shapley.score_files import read_scores, write_scores

    path = folder / f"{layer}.npz"
    manifest = path.with_suffix(".json")
    if path.exists() and manifest.exists():
        settings = read_json(manifest).get("settings", {})
        if settings.get("digest") == scoring.settings["digest"]:
            return read_scores(path), True
    scores = scoring.score(scoring.game(layer), unfinished=folder / f"{layer}.unfinished")
    manifest.unlink(missing_ok=True)  # until both files are written, they are no pair
    facts = {"layer": layer, "settings": scoring.settings, **machine_facts(scoring.device)}
    write_scores(path, scores, scoring.places, facts, {"mean", scoring.aggregate})
    return scores, False
