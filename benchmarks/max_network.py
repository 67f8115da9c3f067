"""What each criterion says of four units whose worth is known (Ancona et al. 2020, figure 1 and table 1).

    python -m benchmarks.max_network

The network is max(x1, x2) for x1, x2 uniform on [0, 10]: half of |x2 - x1| by the units A and B, which are alike, half
of x1 + x2 by C, and D, which nothing reads. Four things are asked of a criterion: D does nothing, A = B, A, B and C
matter, and C matters most. The exact Shapley values are 6.25, 6.25, 37.5 and 0. The loss is the squared error, so
this is no study of the workflow, whose networks tell classes apart; criteria that need classes are left out with
their reason.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shapprune import LayerGame, score
from shapprune.core.errors import ShapPruneError
from shapprune.core.files import whole
from shapprune.core.program import run_program
from shapprune.core.tables import write_table
from shapprune.criteria.catalog import CATALOG

# Options of criteria that have none that fits, and criteria that take another one's.
COMPARED: dict[str, Mapping[str, Any]] = {
    **{name: {} for name, each in CATALOG.items() if name != "rescored" and each.game != "BranchGame"},
    "model-shapley, rows": {"method": "model-shapley", "scope": "rows"},
    "model-shapley, rows, paper's sign": {"method": "model-shapley", "scope": "rows", "sign": "paper"},
    "weight-norm, l2": {"method": "weight-norm", "norm": "l2"},
    "taylor, signed": {"method": "taylor", "signed": True},
    "permutation": {"permutations": 20, "antithetic": True},
    "regression": {"coalitions": 14},
    "rescored": {"of": "permutation", "stages": 4, "options": {"permutations": 20}},
}
UNITS = "ABCD"
REQUIREMENTS = ("D does nothing", "A = B", "A, B, C matter", "C matters most")
COLUMNS = ("criterion", *UNITS, *REQUIREMENTS)
# What counts as nothing, as a share of the largest score, and as the same, of the larger one. Gradients at random
# coalitions are off by a hundredth.
_SAME = 0.02


class MaxNetwork(nn.Module):
    """Four ReLU units that sum to max(x1, x2) for x >= 0; the last has no say (Ancona et al. 2020, Fig. 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(2, 4, bias=False)
        self.relu = nn.ReLU()
        self.output = nn.Linear(4, 1, bias=False)
        with torch.no_grad():
            self.hidden.weight.copy_(torch.tensor([[-0.5, 0.5], [1.0, -1.0], [1.0, 1.0], [1.0, 1.0]]))
            self.output.weight.copy_(torch.tensor([[1.0, 0.5, 0.5, 0.0]]))

    def forward(self, x: Tensor) -> Tensor:
        """Points [N, 2] to their larger coordinates, [N, 1]."""
        output: Tensor = self.output(self.relu(self.hidden(x)))
        return output


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Minus the squared error of each example."""
    return -((outputs[:, 0] - labels) ** 2)


def main() -> None:
    """Run the benchmark; write its table, and the same as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"), help="folder")
    given = parser.parse_args()
    rows = list(measure(points(40)))
    write_table(given.out / "max_network.csv", COLUMNS, rows)
    with whole(given.out / "max_network.md") as temporary:
        temporary.write_text(markdown(rows), encoding="utf-8")
    print(markdown(rows), end="")


def points(side: int) -> Tensor:
    """The middles of side x side cells of the square, [side^2, 2]."""
    grid = (torch.arange(side) + 0.5) * 10 / side
    return torch.cartesian_prod(grid, grid)


def measure(x: Tensor) -> Iterator[dict[str, Any]]:
    """A row for each criterion that this network has values for."""
    game = LayerGame(MaxNetwork(), "hidden", x, x.amax(1), payoff=squared_error)
    for name, options in COMPARED.items():
        rest = {key: value for key, value in options.items() if key != "method"}
        try:
            scores = score(game, str(options.get("method", name)), **rest).aggregate("mean")
        except ShapPruneError as error:
            print(f"{name} is left out: {error}")
            continue
        yield {"criterion": name, **dict(zip(UNITS, map(float, scores), strict=True)), **requirements(scores)}


def requirements(scores: Any) -> dict[str, bool]:
    """Which of the four things that are asked hold, from the scores of A, B, C and D.

    Examples:
        >>> from benchmarks.max_network import requirements
        >>> list(requirements([6.25, 6.25, 37.5, 0]).values())
        [True, True, True, True]
        >>> list(requirements([1, 2, 2, 2]).values())
        [False, False, True, False]
    """
    a, b, c, d = map(float, scores)
    near = _SAME * max(abs(each) for each in (a, b, c, d))
    same = abs(a - b) <= _SAME * max(abs(a), abs(b))
    matter = all(abs(each) > near for each in (a, b, c))
    return dict(zip(REQUIREMENTS, (abs(d) <= near, same, matter, c > max(a, b) + near), strict=True))


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a table with ticks."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for row in rows:
        ticks = ("✓" if row[name] else "" for name in REQUIREMENTS)
        lines.append("| " + " | ".join([row["criterion"], *(f"{row[unit]:.3g}" for unit in UNITS), *ticks]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_program(main))
