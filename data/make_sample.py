"""Cut the sample that ships with the repository from the original Fashion-MNIST.

    python data/make_sample.py

Reads: Fashion-MNIST (downloaded into data/raw when it is not there; see README.md).
Writes: data/fashion-mnist-sample.npz, 12,000 training and 2,000 test images, the same number of each class.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shapprune.core.files import whole
from shapprune.data.sets import SAMPLE, load

TRAIN, TEST, SEED = 1200, 200, 0  # images of each class, and the seed of their choice


def choose(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted indices of ``count`` images of each class."""
    classes = [rng.choice(np.flatnonzero(labels == label), count, replace=False) for label in np.unique(labels)]
    return np.sort(np.concatenate(classes))


def main() -> None:
    """Write the sample beside this script."""
    full = load("fashion-mnist")
    rng = np.random.default_rng(SEED)
    train, test = choose(full.train_labels, TRAIN, rng), choose(full.test_labels, TEST, rng)
    with whole(Path(__file__).resolve().parent / f"{SAMPLE}.npz") as path:
        np.savez_compressed(
            path,
            train_images=full.train_images[train],
            train_labels=full.train_labels[train].astype(np.uint8),
            test_images=full.test_images[test],
            test_labels=full.test_labels[test].astype(np.uint8),
        )


if __name__ == "__main__":
    main()
