"""Prune a network of one's own: train, score, remove half of the units, save, load, train on.

python examples/prune_own_network.py [FOLDER]     # some seconds
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import shapprune


def build() -> nn.Module:
    """Any network that torch.fx or torch.export can follow."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def train(model: nn.Module, images: Tensor, labels: Tensor, epochs: int = 5) -> None:
    """Train as ever; shapprune has no part in it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    model.eval()


def main(folder: Path) -> None:
    """Print the accuracy before and after, and write the smaller network into the folder."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    model = build()
    train(model, images[:1000], labels[:1000])

    # Score each layer on a hundred images, in the network that is left of it; the layers near the output go first.
    scoring = images[1000:1100], labels[1000:1100]
    small = model
    for layer in reversed(shapprune.prunable_layers(model, images)):
        game = shapprune.LayerGame(small, layer.name, *scoring)
        scores = shapprune.shapley.coalition_gradient(game, points=16)
        units = shapprune.choose_units({layer.name: scores.aggregate("mean+2std")}, ratio=0.5)
        small = shapprune.remove_units(small, units, images)

    shapprune.save(small, folder / "small.safetensors")
    loaded = shapprune.load(folder / "small.safetensors", build)

    def report(name: str, network: nn.Module) -> None:
        parameters = sum(each.numel() for each in network.parameters())
        right = (network(images[1100:]).argmax(1) == labels[1100:]).float().mean()
        print(f"{name:14} {parameters:6,} parameters, accuracy {right:.3f}")

    report("trained", model)
    report("pruned", loaded)
    train(loaded, images[:1000], labels[:1000], epochs=2)
    report("trained again", loaded)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
