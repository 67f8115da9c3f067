"""A benchmark for making networks smaller with few images: measure a method, write the leaderboard, compare two.

    python -m benchmarks.low_data run my_package:method --networks resnet20 --weights WEIGHTS --draws 1 --budgets 0.5
    python -m benchmarks.low_data run reconstruction l2 --networks resnet32 resnet56 --weights WEIGHTS
    python -m benchmarks.low_data table
    python -m benchmarks.low_data compare reconstruction l2

A method is a function of a network, images and a budget, the share of the network's multiply-accumulates that may be
left; it returns a smaller network. docs/low-data-benchmark.md says what else it may take and return.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.low_data.comparison import compare
from benchmarks.low_data.figures import write_figures
from benchmarks.low_data.leaderboard import write_board
from benchmarks.low_data.methods import METHODS, find_method
from benchmarks.low_data.networks import BUDGETS, DRAWS, IMAGES, NETWORKS, named
from benchmarks.low_data.results import Results
from benchmarks.low_data.rows import joined
from benchmarks.low_data.running import Settings, run
from shapprune.core.errors import ShapPruneError
from shapprune.core.program import run_program
from shapprune.gpu.device import DEVICES
from shapprune.workflow.store.store import Store

_TABLE = Path("results/low_data/budgets.csv")


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; 1 if a method failed or something was wrong."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.low_data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_run(commands.add_parser("run", help="measure methods", epilog=f"Known methods: {', '.join(METHODS)}."))
    table = commands.add_parser("table", help="write leaderboard.md, .csv, pairs.csv and figures")
    pair = commands.add_parser("compare", help="test whether two methods differ")
    pair.add_argument("methods", nargs=2, metavar="METHOD")
    for each in (table, pair):
        each.add_argument("--tables", nargs="+", type=Path, default=[_TABLE], metavar="CSV", help="that `run` wrote")
        each.add_argument("--images", type=int, default=100, help="of a draw, in what is compared")
    table.add_argument("--out", type=Path, help="folder; default: that of the first table")
    given = parser.parse_args(words)
    command = {"run": _run, "table": _table, "compare": _compare}[given.command]
    return run_program(lambda: command(given))


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("methods", nargs="+", metavar="METHOD", help="a known one, or [NAME=]package.module:function")
    parser.add_argument("--networks", nargs="+", default=["resnet20"], metavar="NET", help=", ".join(NETWORKS))
    parser.add_argument(
        "--weights", type=Path, default=Path("data/raw/weights"), help="folder; public ones are downloaded into it"
    )
    parser.add_argument("--draws", type=int, default=DRAWS, help="of the images; default: %(default)s")
    parser.add_argument("--images", type=int, choices=IMAGES, default=100, help="in a draw; default: %(default)s")
    parser.add_argument("--budgets", type=float, nargs="+", default=BUDGETS, help="shares of the MACs; default: all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--out", type=Path, default=_TABLE, help="table; default: %(default)s")
    parser.add_argument(
        "--store", type=Path, default=Path("results/low_data/store"), help="folder of what was measured"
    )


def _run(given: argparse.Namespace) -> int:
    for budget in given.budgets:
        if budget not in BUDGETS:
            raise ShapPruneError(
                f"{budget:g} is no budget of the benchmark; its budgets are {', '.join(map(str, BUDGETS))}"
            )
    if given.draws < 1:
        raise ShapPruneError(f"{given.draws} draws were asked for, 1 or more are needed")
    networks = [named(name) for name in given.networks]
    methods = dict(map(find_method, given.methods))
    torch.set_num_threads(given.threads)
    settings = Settings(methods, given.images, given.draws, given.budgets, given.weights, given.device)
    failed = run(networks, settings, given.out, Store(given.store))
    print(f"{given.out}: {failed} rows failed" if failed else given.out)
    return int(bool(failed))


def _table(given: argparse.Namespace) -> int:
    results = Results(joined(given.tables))
    out = given.out or given.tables[0].parent
    write_board(results, given.images, out)
    write_figures(results, given.images, out)
    print(out / "leaderboard.md")
    return 0


def _compare(given: argparse.Namespace) -> int:
    for line in compare(Results(joined(given.tables)), given.images, *given.methods):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
