"""A trained network of the study and its data, as the stages after training take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor, nn

from shapprune.core.files import read_json
from shapprune.core.games import PARTS
from shapprune.data.prepared import ImageSet, draw_images, read_prepared, require_data, splits, tensors
from shapprune.game.branch_game import BranchGame
from shapprune.game.layer_game import LayerGame
from shapprune.gpu.device import choose_device
from shapprune.graph.beginning import SharedBeginning
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.graph.dependents import Dependencies
from shapprune.networks.builders import builder_of
from shapprune.networks.evaluation import evaluate
from shapprune.networks.storage import load
from shapprune.workflow.store.work import Work


@dataclass(frozen=True)
class Run:
    """A trained network of the study and its data.

    Attributes:
        model: the network, on its device, in eval mode.
        network: its settings in the configuration.
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
    _measured: dict[bytes, dict[str, Any]] = field(default_factory=dict, repr=False)
    _beginnings: dict[bytes, tuple[SharedBeginning, Tensor]] = field(default_factory=dict, repr=False)

    def game(self, layer: str, part: str, chosen: np.ndarray, **options: Any) -> LayerGame | BranchGame:
        """The game of a layer on some images of the training or the test part, or that of branches or blocks."""
        images, labels = tensors(self.image_set, part, chosen)
        options |= {"examples": chosen, "memory_mb": self.memory_mb}
        if layer in PARTS:
            options.pop("site", None)  # a branch is skipped, wherever units are zeroed
            return BranchGame(self.model, images, labels, kind=layer, **options)
        return LayerGame(self.model, layer, images, labels, dependencies=self._dependencies, **options)

    @cached_property
    def _dependencies(self) -> Dependencies:
        """What depends on units of the network, which is traced once for the games of all its layers."""
        example = tensors(self.image_set, "train", np.arange(2))[0].to(self.device)
        return Dependencies(self.model, example)

    @property
    def training(self) -> np.ndarray:
        """Places of the training images that are not held back."""
        return splits(len(self.image_set.train_labels), len(self.validation))[0]

    @property
    def test(self) -> np.ndarray:
        """Places of all test images."""
        return np.arange(len(self.image_set.test_labels))

    def test_places(self, images: int | str, trial: int) -> np.ndarray:
        """Places of the test images that measure: so many, drawn by a trial, or ``all``."""
        return self.test if images == "all" else draw_images(self.test, int(images), trial)

    def intact(self, places: np.ndarray) -> dict[str, Any]:
        """Loss and accuracy of the whole network on some test images, and its size; measured once."""
        if (which := places.tobytes()) not in self._measured:
            self._measured[which] = measure(self.model, *tensors(self.image_set, "test", places))
        return self._measured[which]

    def beginning(self, places: np.ndarray) -> tuple[SharedBeginning, Tensor]:
        """What runs smaller networks on some test images, and the labels; kept until other images are asked for."""
        if (which := places.tobytes()) not in self._beginnings:
            self._beginnings.clear()
            images, labels = tensors(self.image_set, "test", places)
            self._beginnings[which] = SharedBeginning(self.model, images), labels
        return self._beginnings[which]


def open_run(job: Any, work: Work) -> Run:
    """Read the trained network that a job consumes, and its data.

    Args:
        job: the ``snakemake`` object of its script: ``input`` has ``data``, ``params`` has ``device`` and
            ``resources`` has ``call_mb``.
        work: its tasks, which all consume the same network as ``model``.

    Raises:
        ShapPruneError: a file is missing or damaged, or not of the present configuration or data set.
    """
    stem = work.consumed(next(iter(work.tasks)), "model")
    facts, image_set = read_json(f"{stem}.json"), read_prepared(job.input.data)
    require_data(facts, job.input.data)
    device, network = choose_device(job.params.device), facts["network"]
    model = load(f"{stem}.safetensors", builder_of(network, image_set.info)).to(device).eval()
    held_back = splits(len(image_set.train_labels), facts["task"]["parts"]["validation"])[1]
    name = {"net": facts["net"], "seed": facts["seed"]}
    return Run(model, network, image_set, held_back, device, name, job.resources.call_mb)


def measure(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Loss and accuracy of a network on images, and its size, as tables name them."""
    device = next(model.parameters()).device
    loss, accuracy = evaluate(model, images, labels)
    return {"loss": loss, "accuracy": accuracy, **size_of(model, images[:1].to(device))}


def size_of(model: nn.Module, example: Tensor) -> dict[str, int]:
    """The size of a network, as tables name it."""
    return {"parameters": count_parameters(model), "macs": count_macs(model, example)}
