"""A trained network of the study and its data, as the stages after training take them."""

from __future__ import annotations

import platform
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from shapprune.data import DataInfo, ImageSet, read_prepared, require_data, splits, tensors
from shapprune.files import read_json
from shapprune.game import LayerGame
from shapprune.gpu import choose_device
from shapprune.networks import build
from shapprune.networks.storage import load
from shapprune.work import require


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
    model = load(job.input.model, builder(job.params.network, image_set.info)).to(device).eval()
    held_back = splits(len(image_set.train_labels), job.params.validation)[1]
    name = {"net": facts["net"], "seed": facts["seed"]}
    return Run(model, job.params.network, image_set, held_back, device, name, job.resources.call_mb)


def rules_of(scoring: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a LayerGame among the configuration's ``scoring``."""
    return {key: scoring[key] for key in ("site", "payoff", "precision")}


def builder(network: Mapping[str, Any], info: DataInfo) -> Callable[[], nn.Module]:
    """The function that builds a network of the configuration with fresh weights."""
    return lambda: build(network["architecture"], shape=info.shape, classes=info.classes, **network["options"])


def machine_facts(device: str) -> dict[str, Any]:
    """What a result was made on: device, peak memory in MB so far, and the versions that decide its numbers."""
    if device == "cuda":
        name, peak = torch.cuda.get_device_name(), torch.cuda.max_memory_allocated() / 2**20
    else:
        name, peak = "cpu", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "shapprune": metadata.version("shapprune"),
    }
    return {"device": name, "peak_memory_mb": round(peak, 1), "versions": versions}
