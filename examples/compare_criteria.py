"""Compare criteria on one layer by how fast the loss rises when units leave in the order of each.

python examples/compare_criteria.py     # some seconds
"""

from __future__ import annotations

from typing import Any

import numpy as np

import shapprune
from shapprune.data.prepared import splits, tensors
from shapprune.data.sets import load
from shapprune.networks.builders import build
from shapprune.networks.randomness import seeded
from shapprune.networks.recipe import Recipe
from shapprune.networks.training import fit

CRITERIA: dict[str, dict[str, Any]] = {
    "random": {},
    "weight-norm": {},
    "taylor": {},
    "leave-one-out": {},
    "coalition-gradient": {"points": 16},
    "permutation": {"permutations": 5},
}


def main() -> None:
    """Train a small network on digits, score one layer by each criterion, and print what its order costs."""
    digits = load("digits")
    training, held_back = splits(digits.info.train, 200)
    with seeded(0):
        model = build("mlp", shape=digits.info.shape, widths=[32, 16])
    recipe = Recipe(epochs=8, lr=0.1)
    fit(model, *tensors(digits, "train", training), *tensors(digits, "train", held_back), recipe, progress=False)

    # Scores come from images that were held back from training, curves from the test images.
    scored = shapprune.LayerGame(model, "fc1", *tensors(digits, "train", held_back[:100]))
    measured = shapprune.LayerGame(model, "fc1", *tensors(digits, "test", np.arange(200)))
    print(f"{'criterion':20} {'area':>6} {'evaluations':>12} {'standard error':>15}")
    for name, options in CRITERIA.items():
        scores = shapprune.score(scored, name, **options)
        curve = shapprune.removal_curve(measured, scores.order("mean"))
        error = float(scores.standard_error("mean").mean())
        print(f"{name:20} {shapprune.auc([curve]):6.3f} {scores.evaluations:12.0f} {error:15.4f}")


if __name__ == "__main__":
    main()
