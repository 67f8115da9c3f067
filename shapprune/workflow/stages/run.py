"""A trained network of the study and its data, as the stages after training take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from shapprune.core.files import read_json
from shapprune.data.prepared import ImageSet, read_prepared, require_data, splits, tensors
from shapprune.game.layer_game import LayerGame
from shapprune.gpu.device import choose_device
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.networks.builders import builder_of
from shapprune.networks.storage import load
from shapprune.networks.training import evaluate
from shapprune.workflow.store.work import require


@dataclass(frozen=True)
class Run:
    """A trained network of the study and its data.

    Attributes:
        model: the network, on its device, in eval mode.
        network: its entry in the configuration.
        image_set: its data.
        validation: places of the training images that were held back from training.
        device: ``cpu`` or ``cuda``.
        name: ``net`` and ``seed``, as tables name the run.
        memory_mb: about how much memory a call of the network may take.
    """

    model: nn.Module
    network: Mapping[str, Any]
    image_set: ImageSet
    validation: np.ndarray
    device: str
    name: dict[str, Any]
    memory_mb: int

    def game(self, layer: str, part: str, chosen: np.ndarray, **options: Any) -> LayerGame:
        """The game of a layer on some images of the training or the test part."""
        images, labels = tensors(self.image_set, part, chosen)
        return LayerGame(self.model, layer, images, labels, examples=chosen, memory_mb=self.memory_mb, **options)

    @property
    def test(self) -> np.ndarray:
        """Places of all test images."""
        return np.arange(len(self.image_set.test_labels))


def open_run(job: Any, model_key: str) -> Run:
    """Read a trained network and its data, as a job of the workflow names them.

    Args:
        job: the ``snakemake`` object of its script: ``input`` has ``model`` and ``data``; ``params`` has ``network``
            (its entry in the configuration), ``validation`` (how many training images are held back) and ``device``;
            ``resources`` has ``call_mb``.
        model_key: the key that the network must have.

    Raises:
        ShapPruneError: a file is missing or damaged, or not of that key or that data set.
    """
    manifest = Path(job.input.model).with_suffix(".json")
    require(manifest, model_key)
    facts, image_set = read_json(manifest), read_prepared(job.input.data)
    require_data(facts, job.input.data)
    device = choose_device(job.params.device)
    model = load(job.input.model, builder_of(job.params.network, image_set.info)).to(device).eval()
    held_back = splits(len(image_set.train_labels), job.params.validation)[1]
    name = {"net": facts["net"], "seed": facts["seed"]}
    return Run(model, job.params.network, image_set, held_back, device, name, job.resources.call_mb)


def rules_of(scoring: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a LayerGame among the configuration's ``scoring``."""
    return {key: scoring[key] for key in ("site", "payoff", "precision")}


def measure(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Loss and accuracy of a network on images, and its size, as tables name them."""
    device = next(model.parameters()).device
    loss, accuracy = evaluate(model, images, labels)
    size = {"parameters": count_parameters(model), "macs": count_macs(model, images[:1].to(device))}
    return {"loss": loss, "accuracy": accuracy, **size}
