"""Which of several methods is ahead, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.low_data.networks import DRAWS, named
from benchmarks.low_data.results import Pair, Results
from benchmarks.low_data.statistics import Interval, critical_difference, friedman, mean_ranks

DEVELOPMENT = "methods were developed on it, so no claim rests on it"


def claims(results: Results, images: int, pairs: Sequence[Pair]) -> Iterator[str]:
    """What may be claimed: mean ranks, and the pairs with the method that is ahead."""
    methods, blocks, accuracies = results.accuracies(images)
    nets = ", ".join(dict.fromkeys(block.net for block in blocks))
    skipped = [net for net in dict.fromkeys(block.net for block in results.rows) if named(net).development]
    yield f"With {images} images, over {len(blocks)} blocks (a network at a budget): {nets or 'none'}."
    if skipped:
        yield f"Left out, since methods were developed on it: {', '.join(skipped)}."
    missing = [name for name in results.methods if name not in methods]
    if missing:
        yield f"Not measured in all of these blocks, and so not compared: {', '.join(missing)}."
    if len(methods) < 2 or not blocks:
        yield "Fewer than two methods are left, so there is nothing to compare."
        return
    few = [block for block in blocks if min(len(results.rows[block][name]) for name in methods) < DRAWS]
    if few:
        yield f"In {len(few)} of the blocks a method has fewer than {DRAWS} draws: this is a first look and no claim."
    ranks = mean_ranks(accuracies)
    if len(methods) > 2 and len(blocks) > 1:
        yield (
            f"That all methods are alike has p = {friedman(accuracies):.2g} (Friedman's test). Mean ranks that are"
            f" {critical_difference(len(methods), len(blocks)):.2f} apart differ (Nemenyi's test, 5 %)."
        )
    best = methods[int(ranks.argmin())]
    yield f"\nAgainst {best}, the best mean rank:\n"
    yield "| method | mean rank | difference of accuracies | ahead, behind | Wilcoxon's p | with Holm's correction |"
    yield "|---|---:|---|---|---:|---:|"
    for place in np.argsort(ranks, kind="stable"):
        pair = next((each for each in pairs if {each.one, each.other} == {best, methods[place]}), None)
        yield f"| {methods[place]} | {ranks[place]:.2f} | {_against(pair, best)} |"


def _against(pair: Pair | None, best: str) -> str:
    if pair is None:
        return " |  |  | "
    sign = 1 if pair.other == best else -1
    mean, *ends = pair.difference
    difference = Interval(sign * mean, *sorted(sign * end for end in ends))
    wins, losses = (pair.wins, pair.losses) if sign == 1 else (pair.losses, pair.wins)
    return f"{signed(difference)} | {wins}, {losses} | {pair.p:.2g} | {pair.p_holm:.2g}"


def compare(results: Results, images: int, one: str, other: str) -> Iterator[str]:
    """How two methods differ, in each block and in all that claims rest on.

    Raises:
        ShapPruneError: an unknown method, or two without a block in common.
    """
    common = results.common(images, one, other)
    yield f"{one} less {other}: test accuracy with {images} images, mean and 95 % interval"
    for block in common:
        note = f" ({DEVELOPMENT})" if named(block.net).development else ""
        yield f"  {block.net}, {block.budget:g} of the MACs: {signed(results.difference([block], one, other))}{note}"
    if not results.blocks(images, one, other):
        yield "No network is left that a claim may rest on."
        return
    (pair,) = results.compare(images, [(one, other)])
    yield (
        f"  all {pair.blocks} blocks that claims rest on: {signed(pair.difference)}, ahead in {pair.wins}, behind in"
        f" {pair.losses}; Wilcoxon's p = {pair.p:.2g}"
    )
    pairs = results.pairs(images)
    both = next((each for each in pairs if {each.one, each.other} == {one, other}), None)
    if both is not None:
        yield f"  with Holm's correction for all {len(pairs)} pairs of methods: p = {both.p_holm:.2g}"


def decimals(value: float) -> str:
    """An accuracy in four digits without the leading 0.

    Examples:
        >>> from benchmarks.low_data.leaderboard import decimals
        >>> decimals(0.92341), decimals(-0.01), decimals(1.0)
        ('.9234', '-.0100', '1.0000')
    """
    return f"{value:.4f}".replace("0.", ".", 1) if abs(value) < 0.99995 else f"{value:.4f}"


def signed(interval: Interval) -> str:
    """A difference with its sign and interval."""
    mean, low, high = (decimals(each) if each < 0 else f"+{decimals(each)}" for each in interval)
    return f"{mean} ({low} to {high})" if interval.low < interval.high else mean
