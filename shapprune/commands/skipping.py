"""``prune --branches`` and ``--blocks``: a network without those that its outputs need least."""

from __future__ import annotations

import argparse
from pathlib import Path

from shapprune.commands.combinations import parts_of
from shapprune.commands.opening import check_criterion
from shapprune.commands.results import Comparison, print_comparison
from shapprune.commands.scoring import Scoring, open_scoring
from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.pruning.branches import prunable_branches, remove_branches
from shapprune.shapley.unfinished import Unfinished

# In the folder of results until they are written: the parts that have left so far.
UNFINISHED = "parts.unfinished"


def skip_parts(arguments: argparse.Namespace) -> None:
    """Let branches or blocks leave one after the other; measure, write, and print a comparison of the two networks.

    Raises:
        ShapPruneError: a bad argument; nothing is written then.
    """
    kind, count = parts_of(arguments)
    scoring = open_scoring(argparse.Namespace(**{**vars(arguments), "kind": kind}))
    names = [part.name for part in prunable_branches(scoring.model, scoring.example, kind)]
    if count >= len(names):
        raise ShapPruneError(f"--{kind} {count}: the network has {len(names)}, so at most {len(names) - 1} can leave")
    check_criterion(scoring.criterion, scoring.units, scoring)
    comparison = Comparison.begin(arguments, scoring)
    unfinished = arguments.out / UNFINISHED
    gone, cost = _choose(scoring, kind, count, unfinished)
    leaving, images = [names[place] for place in gone], scoring.images.to(scoring.device)
    small = remove_branches(scoring.model, leaving, images, kind, arguments.repair)
    for name in leaving:
        print(f"{name} leaves", flush=True)
    scores = scoring.settings | {"aggregate": scoring.aggregate}
    made = {"scores": scores, "choice": {kind: count}, "repair": arguments.repair, "cost": cost}
    facts = comparison.write(arguments.out, small, made)
    unfinished.unlink(missing_ok=True)
    print_comparison(facts["before"], facts["after"])


def _choose(scoring: Scoring, kind: str, count: int, path: Path) -> tuple[list[int], dict[str, float]]:
    """The places of those that leave, in this order, each scored with the ones before it gone; and what it cost.

    Args:
        scoring: how they are scored.
        kind: ``branches`` or ``blocks``.
        count: how many leave.
        path: a file from which this goes on after an interruption.
    """
    game = scoring.game(kind)
    how = scoring.criterion, scoring.aggregate, scoring.seed, dict(scoring.options)
    unfinished = Unfinished(path, game, "prune", *how)
    gone: list[int] = unfinished.saved.get("gone", [])[:count]
    for _ in track(range(len(gone), count), kind):
        scores = scoring.score(game.without(gone))
        gone.append(next(place for place in scores.order(scoring.aggregate).tolist() if place not in gone))
        unfinished.save(f"{len(gone)} {kind}", gone=list(gone))
    unfinished.finish()
    return gone, {"evaluations": unfinished.evaluations + game.evaluations}
