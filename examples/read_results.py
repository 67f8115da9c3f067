"""Read the results of a study with pandas: which criterion is best, and how many units can leave.

python examples/read_results.py [FOLDER]     # the folder in which the study ran; by default this one
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

NAMES = dict.fromkeys(("net", "layer", "criterion"), str)  # as a number, layer 1.10 would be layer 1.1


def best_criteria(tables: Path) -> pd.DataFrame:
    """Area under the removal curves by network and criterion: mean and standard deviation over seeds and trials."""
    auc = pd.read_csv(tables / "auc.csv", dtype=NAMES)
    auc = auc[auc["layer"] == "all"]  # of all layers together
    areas = auc.groupby(["net", "criterion", "aggregate"])["auc_loss"].agg(["mean", "std"])
    return areas.sort_values("mean").sort_index(level="net", sort_remaining=False)


def dispensable(tables: Path, drop: float = 0.01) -> pd.DataFrame:
    """The share of each layer's units that can leave before the accuracy has dropped by more than so much."""
    curves = pd.read_csv(tables / "curves.csv", dtype=NAMES)
    one = ["net", "seed", "criterion", "aggregate", "trial", "layer"]
    curves = curves.sort_values([*one, "removed"])
    intact = curves.groupby(one)["accuracy"].transform("first")
    lost = (curves["accuracy"] < intact - drop).groupby([curves[column] for column in one]).cummax()
    share = (curves["removed"] / curves["units"])[~lost].groupby([curves[column] for column in one]).max()
    return share.groupby(["net", "criterion", "aggregate", "layer"]).mean().unstack("layer")


def main(folder: Path) -> None:
    """Print both tables."""
    tables = folder / "results" / "tables"
    print(best_criteria(tables).round(3).to_string(), end="\n\n")
    print(dispensable(tables).round(2).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
