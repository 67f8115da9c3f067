"""A method of your own for the benchmark of pruning with few images: random units leave, least squares mend the rest.

python examples/low_data_method.py     # tried on a small network, seconds
python -m benchmarks.low_data run examples.low_data_method:random_choice --networks resnet20 --draws 1
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import shapprune
from shapprune.graph.counting import count_macs
from shapprune.pruning.repair import repair


def random_choice(model: nn.Module, images: Tensor, budget: float, *, seed: int) -> nn.Module:
    """The network with at most this share of its multiply-accumulates, the same share of units gone in all layers."""
    random, whole = np.random.default_rng(seed), count_macs(model, images)
    orders = {each.name: random.permutation(each.units) for each in shapprune.prunable_layers(model, images[:2])}
    for share in np.arange(0.02, 1, 0.02):
        removed = {name: order[: int(share * len(order))].tolist() for name, order in orders.items()}
        small = shapprune.remove_units(model, removed, images[:2])
        if count_macs(small, images) <= budget * whole:
            return repair(small, model, removed, images, "least-squares")
    raise ValueError(f"no share of the units brings the network to {budget:.0%}")


def main() -> None:
    """Print how often the network is right, and how often the smaller one is with and without the repair."""
    from prune_own_network import build, train

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32), torch.tensor(digits.target)
    model = build()
    train(model, images[:1000], labels[:1000])
    small = random_choice(model, images[:100], 0.5, seed=0)
    for name, network in (("whole", model.eval()), ("half", small.eval())):
        right = (network(images[1000:]).argmax(1) == labels[1000:]).float().mean()
        print(f"{name}: {count_macs(network, images):,} multiply-accumulates, {right:.1%} right")


if __name__ == "__main__":
    main()
