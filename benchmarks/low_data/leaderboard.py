"""The leaderboard, ablation and comparison of methods as Markdown and CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.low_data.comparison import DEVELOPMENT, claims, decimals, signed
from benchmarks.low_data.figures import RANKS, drawable, rankable, tradeoff_name
from benchmarks.low_data.methods import ABLATION, REFERENCE
from benchmarks.low_data.networks import named
from benchmarks.low_data.results import Block, Pair, Results
from benchmarks.low_data.rows import Row
from shapprune.core.files import whole
from shapprune.core.tables import write_table

COLUMNS = (
    *("net", "images", "method", "budget", "draws", "failed", "accuracy", "low", "high", "accuracy_intact"),
    *("agreement_test", "share", "parameters", "milliseconds", "labels", "cpu_seconds"),
)
PAIRS = ("one", "other", "blocks", "difference", "low", "high", "wins", "losses", "p", "p_holm")
_ABOUT = """\
# Pruning with few images: the leaderboard

Written by `python -m benchmarks.low_data table`: [what it is, and how to take part](../../low-data-benchmark.md).

Test accuracy, mean over draws of the calibration images with its 95 % interval, for which draws and test images are
drawn again. A draw in which a method failed has no image right. Where it was not kept which images were right, the
interval is over draws alone (*), and one draw has none. CPU seconds are all that a method takes for one budget; "?" was
not measured. Draws on another device than the first count for neither milliseconds nor CPU seconds."""


def board_rows(results: Results) -> Iterator[dict[str, Any]]:
    """A row for each network, number of images, method and budget."""
    for block, methods in results.rows.items():
        for method, draws in methods.items():
            interval = results.interval(block, method)
            some = [draws[draw] for draw in sorted(draws)]
            timed = [row for row in some if row["device"] == some[0]["device"]]
            known = _has_interval(results, block, method)
            yield {
                **block._asdict(),
                "method": method,
                "draws": len(some),
                "failed": sum(bool(row["failed"]) for row in some),
                "accuracy": interval.mean,
                "low": interval.low if known else "",
                "high": interval.high if known else "",
                "labels": next((row["labels"] for row in some if row["labels"]), ""),
                "milliseconds": _middle(timed, "milliseconds"),
                "cpu_seconds": _mean(timed, "cpu_seconds"),
                **{name: _mean(some, name) for name in ("accuracy_intact", "agreement_test", "share", "parameters")},
            }


def write_board(results: Results, images: int, folder: Path) -> None:
    """Write ``leaderboard.md``, ``leaderboard.csv`` and ``pairs.csv``."""
    rows, pairs = list(board_rows(results)), results.pairs(images)
    write_table(folder / "leaderboard.csv", COLUMNS, rows)
    write_table(folder / "pairs.csv", PAIRS, map(pair_row, pairs))
    with whole(folder / "leaderboard.md") as temporary:
        temporary.write_text("\n".join(markdown(results, images, rows, pairs)) + "\n", encoding="utf-8")


def pair_row(pair: Pair) -> dict[str, Any]:
    """A pair as a row of ``pairs.csv``."""
    return {
        **pair._asdict(),
        "difference": pair.difference.mean,
        **{n: getattr(pair.difference, n) for n in ("low", "high")},
    }


def markdown(results: Results, images: int, rows: Sequence[Row], pairs: Sequence[Pair]) -> Iterator[str]:
    """The leaderboard for people."""
    yield _ABOUT
    for net, count in results.places():
        some = [row for row in rows if (row["net"], row["images"]) == (net, count)]
        intact = next((decimals(row["accuracy_intact"]) for row in some if row["accuracy_intact"] != ""), "?")
        development = f": {DEVELOPMENT}" if named(net).development else ""
        yield f"\n## {net}, {count} images\n\nIntact {intact}{development}.\n"
        yield from _board(results, some)
        if drawable(results, net, count):
            yield f"\n![Accuracy against cost]({tradeoff_name(net, count)}.png)"
    yield "\n## Which method is ahead\n"
    yield from claims(results, images, pairs)
    if rankable(results, images):
        yield f"\n![Mean ranks, and what is not told apart]({RANKS}.png)"
    yield "\n## One choice at a time\n"
    yield from ablation(results, images)


def _board(results: Results, rows: Sequence[Row]) -> Iterator[str]:
    """The table of one network: a row a method, the best at the middle budget first."""
    budgets = sorted({row["budget"] for row in rows}, reverse=True)
    cells = {(row["method"], row["budget"]): row for row in rows}
    middle = budgets[(len(budgets) - 1) // 2]

    def worth(method: str) -> tuple[float, ...]:
        return tuple(
            -cells[method, each]["accuracy"] if (method, each) in cells else 1.0 for each in (middle, *budgets)
        )

    heads = " | ".join(f"{100 * budget:.4g} % of the MACs" for budget in budgets)
    yield f"| method | labels | draws | {heads} | parameters at {100 * middle:.4g} % | ms | CPU seconds |"
    yield "|---|---|---|" + "---|" * len(budgets) + "---:|---:|---:|"
    for method in sorted({row["method"] for row in rows}, key=worth):
        found = [cells.get((method, budget)) for budget in budgets]
        row = cells.get((method, middle)) or next(each for each in found if each)
        draws = " to ".join(map(str, sorted({each["draws"] for each in found if each})))
        block = Block(row["net"], row["images"], 0)
        accuracies = " | ".join(_cell(results, block, each) for each in found)
        costs = (
            _number(row["parameters"], ",.0f"),
            _number(row["milliseconds"], ".3g"),
            _number(row["cpu_seconds"], ".0f"),
        )
        yield f"| {method} | {row['labels'] or '?'} | {draws} | {accuracies} | {' | '.join(costs)} |"


def _cell(results: Results, block: Block, row: Row | None) -> str:
    if row is None:
        return ""
    text = decimals(row["accuracy"])
    if row["low"] != "":
        alone = results.right(block._replace(budget=row["budget"]), row["method"]).shape[1] == 1
        text += f" ({decimals(row['low'])} to {decimals(row['high'])}){'*' * alone}"
    return text + f", {row['failed']} failed" * bool(row["failed"])


def ablation(results: Results, images: int) -> Iterator[str]:
    """What each choice is worth: the accuracy with another one, less that of the reference."""
    yield f"Accuracy with this choice less that of `{REFERENCE}`, {images} images, mean with its 95 % interval."
    nets = [net for net, count in results.places() if count == images]
    for net in nets:
        budgets = sorted({block.budget for block in results.rows if block[:2] == (net, images)}, reverse=True)
        lines = []
        for part, method in ABLATION:
            cells = []
            for budget in budgets:
                block = Block(net, images, budget)
                there = {method, REFERENCE} <= results.rows.get(block, {}).keys()
                cells.append(signed(results.difference([block], method, REFERENCE)) if there else "")
            if any(cells):
                lines.append(f"| {part} | {method} | {' | '.join(cells)} |")
        if lines:
            yield f"\n### {net}\n" + (f"\n{DEVELOPMENT.capitalize()}.\n" if named(net).development else "")
            yield "| choice | with | " + " | ".join(f"{100 * budget:.4g} % of the MACs" for budget in budgets) + " |"
            yield "|---|---|" + "---|" * len(budgets)
            yield from lines


def _has_interval(results: Results, block: Block, method: str) -> bool:
    """Whether there is something to draw again: several draws, or images that are known one by one."""
    return max(results.right(block, method).shape) > 1


def _mean(rows: Sequence[Row], name: str) -> float | str:
    values = [float(row[name]) for row in rows if row[name] != ""]
    return float(np.mean(values)) if values else ""


def _middle(rows: Sequence[Row], name: str) -> float | str:
    values = [float(row[name]) for row in rows if row[name] != ""]
    return float(np.median(values)) if values else ""


def _number(value: float | str, form: str) -> str:
    return "?" if isinstance(value, str) else format(value, form)
