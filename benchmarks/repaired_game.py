"""Orders by averages over coalitions against conditional marginals, where the layer behind makes up for what is gone.

    python -m benchmarks.repaired_game resnet56=path/to/resnet56.th --draws 3 --out results/benchmarks/repaired_game.csv

The payoff of a coalition of units is minus what the layers that read them lose with their weights fitted to it
(`shapprune.criteria.elimination`). It has a closed form, so that of a small layer all coalitions are known, with them
exact Shapley and Banzhaf values and the oracle sets. Orders by these are compared with orders of conditional marginals
(`reconstruction`, with and without the norm of the weights), of weights and of chance: by what the readers lose, and by
what the outputs of the network lose on images that nothing was fitted to. Calibration and other images are training
images. A table that is there already is gone on with.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.cases import arguments, open_network
from shapprune.core.program import run_program
from shapprune.core.tables import read_rows, write_table
from shapprune.criteria.elimination import Reading, fit_to_fewer
from shapprune.criteria.reconstruction import Readers, eliminate_units
from shapprune.data.prepared import draw_images, rest, tensors
from shapprune.oracle.sets import oracle_rank, oracle_sets, overlap
from shapprune.oracle.values import banzhaf_values, leave_one_out_values, shapley_values
from shapprune.pruning.damage import DamageMeter
from shapprune.pruning.selection import Structure

RIDGE = 0.01
# Shares of the units that leave where the outputs are looked at.
SHARES = (0.25, 0.5, 0.75)
COLUMNS = (
    *("net", "weights", "layer", "units", "images", "draw", "order", "lost", "gap", "cumulative_overlap"),
    *(f"damage_{share:g}" for share in SHARES),
)
_AT_ONCE = 256  # coalitions
ORACLE = "oracle sets"


def main() -> None:
    """Run the benchmark and write its table."""
    parser = arguments(__doc__)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--max-units", type=int, default=16, help="layers with more are left out")
    parser.add_argument("--held-out", type=int, default=500, help="images that the outputs are looked at on")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/repaired_game.csv"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows: list[dict[str, Any]] = [*read_rows(given.out)]
    done = {(row["net"], row["layer"], str(row["draw"])) for row in rows}
    for network in given.networks:
        net, weights, model, image_set = open_network(network)
        pool = np.arange(len(image_set.train_labels))
        structure = Structure.of(model, tensors(image_set, "train", pool[:2])[0])
        for draw in range(given.draws):
            chosen = draw_images(pool, given.images, draw)
            images, _ = tensors(image_set, "train", chosen)
            held, _ = tensors(image_set, "train", draw_images(rest(pool, chosen), given.held_out, draw))
            meter = DamageMeter(structure.graph, held)
            for layer in _small(structure, given.max_units, given.layers):
                if (net, layer, str(draw)) in done:
                    continue
                about = {"net": net, "weights": weights, "layer": layer, "images": given.images, "draw": draw}
                rows += [about | row for row in measure(structure, layer, images, meter, draw)]
                write_table(given.out, COLUMNS, rows)
                print(about, flush=True)


def _small(structure: Structure, most: int, only: Sequence[str] | None) -> Iterator[str]:
    """The layers to measure: small ones that share their units with no other."""
    for layer, group in structure.groups.items():
        if len(group) == 1 and structure.sizes.full[layer] <= most and (not only or layer in only):
            yield layer


def measure(
    structure: Structure, layer: str, images: Tensor, meter: DamageMeter, seed: int
) -> Iterator[dict[str, Any]]:
    """A row for each order of a layer's units, and one for the oracle sets, which need not be nested."""
    readers = structure.readers[layer]
    reads = Readers(structure.dependencies).read({layer: readers}, images)[layer]
    named = {each.name: read for each, read in zip(readers, reads, strict=True)}
    table, norms = coalition_values(reads), structure.squared_norms[layer]
    for name, sets in removals(table, reads, norms, seed).items():
        units = len(sets) - 1
        values = [table[_kept(some, units)] for some in sets]
        best = [table[_kept(some, units)] for some in oracle_sets(table)]
        row: dict[str, Any] = {
            "units": units,
            "order": name,
            "lost": -float(np.mean(values[1:-1])),
            "gap": float(np.mean(np.subtract(best, values)[1:-1])),
            "cumulative_overlap": "",
        }
        if name != ORACLE:
            order = [min(set(after) - set(before)) for before, after in pairwise(sets)]
            row["cumulative_overlap"] = overlap(table, order)[-1].cumulative_overlap
        for share in SHARES:
            gone = list(sets[round(share * units)])
            order, width = gone + [unit for unit in range(units) if unit not in gone], units - len(gone)
            damage = meter.measure(named, fit_to_fewer(reads, order, [width], RIDGE))
            row[f"damage_{share:g}"] = damage[width]
        yield row


def removals(table: np.ndarray, reads: Sequence[Reading], norms: Tensor, seed: int) -> dict[str, list[tuple[int, ...]]]:
    """By each order the units that leave, of every number from none to all."""
    rng = np.random.default_rng(seed)
    orders: dict[str, Sequence[int] | np.ndarray] = {
        "Shapley values": np.argsort(shapley_values(table), kind="stable"),
        "Banzhaf values": np.argsort(banzhaf_values(table), kind="stable"),
        "leave one out": np.argsort(leave_one_out_values(table), kind="stable"),
        "conditional marginal": eliminate_units(reads, norms, RIDGE, norm_power=0).order,
        "conditional marginal, norm": eliminate_units(reads, norms, RIDGE, norm_power=2).order,
        "l2 norm": norms.argsort(stable=True).tolist(),
        "random": rng.permutation(len(norms)),
        "greedy from the empty layer": _grown(table),
        "oracle rank": oracle_rank(table),
    }
    found = {name: [tuple(map(int, order[:size])) for size in range(len(order) + 1)] for name, order in orders.items()}
    return found | {ORACLE: oracle_sets(table)}


def _grown(table: np.ndarray) -> list[int]:
    """The order whose last unit is worth most alone, and each before it most beside those that stay longer."""
    units, coalition, order = len(table).bit_length() - 1, 0, list[int]()
    while len(order) < units:
        left = [unit for unit in range(units) if not coalition >> unit & 1]
        best = max(left, key=lambda unit: float(table[coalition | 1 << unit]))
        coalition |= 1 << best
        order.insert(0, best)
    return order


def _kept(gone: Sequence[int], units: int) -> int:
    return 2**units - 1 - sum(1 << unit for unit in gone)


@torch.no_grad()
def coalition_values(reads: Sequence[Reading], ridge: float = RIDGE) -> np.ndarray:
    """The payoff of every coalition: minus the share of the readers' variance that is lost, float [2^n].

    The units R that are gone cost trace(W_R' [(H^-1)_RR]^-1 W_R) - s |W_R|^2, with H = X'X + s, all at once as one by
    one (`shapprune.criteria.elimination`).

    Args:
        reads: the layers that read the units; their mean counts.
        ridge: s, in units of the mean variance of a reader's inputs.
    """
    units = len(reads[0].places)
    lost = np.zeros(2**units)
    for read in reads:
        gram = read.rows if read.is_gram else read.rows.mT @ read.rows
        strength = ridge * float(gram.diagonal().mean()) or 1.0
        inverse = torch.linalg.inv(gram + strength * torch.eye(len(gram), dtype=gram.dtype))
        weights = read.weights * read.importance.double().sqrt()
        energy = float((weights * (gram @ weights)).sum()) or 1.0
        for size in range(1, units + 1):
            sets = list(combinations(range(units), size))
            for first in range(0, len(sets), _AT_ONCE):
                some = sets[first : first + _AT_ONCE]
                places = read.places[torch.tensor(some)].flatten(1)
                rows = weights[places]
                blocks = inverse[places[:, :, None], places[:, None, :]]
                solved = torch.linalg.solve_triangular(torch.linalg.cholesky(blocks), rows, upper=False)
                costs = solved.square().sum((1, 2)) - strength * rows.square().sum((1, 2))
                for gone, cost in zip(some, costs.tolist(), strict=True):
                    lost[_kept(gone, units)] += cost / energy / len(reads)
    return -lost


if __name__ == "__main__":
    sys.exit(run_program(main))
