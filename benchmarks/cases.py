"""What benchmarks are made of: a network, its layers, images of its data, and a clock."""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from shapprune import LayerGame
from shapprune.data.prepared import ImageSet, draw_images, rest, tensors
from shapprune.data.sets import DATASETS, load
from shapprune.gpu.device import DEVICES, choose_device
from shapprune.networks.builders import build
from shapprune.networks.randomness import seeded
from shapprune.networks.tables import layer_table
from shapprune.networks.weights import load_weights

# Of all that is measured: at a lower one, scores of two ways would differ by more than rounding of float32.
PRECISION = "fp32"
DATA = {"lenet5": "fashion-mnist-sample", "fmnist_cnn": "fashion-mnist-sample", "mlp": "fashion-mnist-sample"}


@dataclass(frozen=True)
class Case:
    """A network to measure on.

    Attributes:
        net: its architecture.
        weights: the file its weights are from, ``fresh`` where there is none.
        model: the network, on its device.
        layers: the units of each layer to measure.
        scoring: images and labels to score on.
        held_out: others of the same data, for removal curves.
    """

    net: str
    weights: str
    model: nn.Module
    layers: dict[str, int]
    scoring: tuple[Tensor, Tensor]
    held_out: tuple[Tensor, Tensor]

    @cached_property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters()).device

    @cached_property
    def digest(self) -> str:
        """Which weights the network has, as 12 hexadecimal digits."""
        sha256 = hashlib.sha256()
        for name, tensor in self.model.state_dict().items():
            sha256.update(name.encode())
            sha256.update(tensor.cpu().contiguous().numpy().tobytes())
        return sha256.hexdigest()[:12]

    def game(self, layer: str) -> LayerGame:
        """The game of a layer on the scoring images."""
        return LayerGame(self.model, layer, *self.scoring, precision=PRECISION)

    def clock(self) -> float:
        """Seconds, when the device has done all that it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def arguments(about: str | None) -> argparse.ArgumentParser:
    """The arguments that all benchmarks have."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", metavar="NET[=WEIGHTS]", help="architecture, alone or with its weights")
    parser.add_argument("--images", type=int, default=100, help="to score on")
    parser.add_argument("--layers", nargs="+", help="only these")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=DEVICES, default="auto")
    return parser


def make_case(
    network: str, images: int, held_out: int = 0, only: Sequence[str] | None = None, device: str = "auto"
) -> Case:
    """The network that is named ``architecture`` or ``architecture=weights``, with images of the test set.

    Without weights they are fresh; activations are then less sparse than in a trained network.
    """
    net, weights, model, image_set = open_network(network)
    place, pool = choose_device(device), np.arange(len(image_set.test_labels))
    scoring = draw_images(pool, images, trial=0)
    others = draw_images(rest(pool, scoring), held_out, trial=0) if held_out else pool[:0]
    (x, y), (x_other, y_other) = (tensors(image_set, "test", some) for some in (scoring, others))
    shape = image_set.info.shape
    return Case(
        net,
        weights,
        model.to(place),
        {layer: n for layer, n in layer_table(net, {}, shape).items() if not only or layer in only},
        (x.to(place), y.to(place)),
        (x_other.to(place), y_other.to(place)),
    )


def open_network(network: str, data: str | None = None) -> tuple[str, str, nn.Module, ImageSet]:
    """The architecture, the name of the weights, the network in eval mode and the data set of ``NET[=WEIGHTS]``."""
    net, _, weights = network.partition("=")
    data = data or DATA.get(net, "cifar10")
    info = DATASETS[data]
    with seeded(0):
        model = build(net, shape=info.shape, classes=info.classes).eval()
    if weights:
        load_weights(model, weights)
    return net, Path(weights).name or "fresh", model, load(data)
