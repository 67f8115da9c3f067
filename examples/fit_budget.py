"""Make a network fit budgets with a hundred images and no labels, and see whether the promise is kept.

python examples/fit_budget.py     # half a minute
"""

from __future__ import annotations

import torch
from prune_own_network import build, train
from sklearn.datasets import load_digits

import shapprune


def main() -> None:
    """Print what each network costs, on how many images it should agree with the whole one, and on how many it does."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
    model = build()
    train(model, images[:1000], torch.tensor(digits.target)[:1000])

    curve = shapprune.tradeoff(model, images[1000:1100], budgets=(0.5, 0.25, 0.1), steps=200)
    unseen = images[1100:]
    for result in curve:
        before, after = result.cost["before"]["macs"], result.cost["after"]["macs"]
        same = (result.model(unseen).argmax(1) == model(unseen).argmax(1)).float().mean()
        print(f"{after:7,} of {before:,} MACs: should agree on {result.agreement}, agrees on {same:.1%}")


if __name__ == "__main__":
    main()
