"""Test images, and what the intact network says of them, against which changed networks are measured."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from shapprune.data.prepared import tensors
from shapprune.networks.batches import in_batches
from shapprune.networks.losses import hits, logits_of, mean_loss
from shapprune.pruning.divergence import agree, answers, counted_answers
from shapprune.workflow.computing.run import Run

_BATCH = 50  # test images at a time


class Comparison:
    """Test images, and what the intact network says of them.

    Args:
        run: the network.
        places: of the test images.
    """

    def __init__(self, run: Run, places: np.ndarray):
        self._beginning, self._labels = run.beginning(places)
        self._intact = self._outputs(run.model)
        images, _ = tensors(run.image_set, "test", places)
        self._compared = answers(counted_answers(run.model, images, self._intact), len(images))

    def measure(self, network: nn.Module) -> dict[str, float]:
        """How good a network is, and on which share of the images it says what the intact one says."""
        outputs = self._outputs(network)
        return {
            "test_agreement": self._agreement(outputs),
            "loss": self._loss(outputs),
            "accuracy": self._accuracy(outputs),
            "intact_loss": self._loss(self._intact),
            "intact_accuracy": self._accuracy(self._intact),
        }

    @torch.inference_mode()
    def _outputs(self, network: nn.Module) -> Tensor:
        end, values = self._beginning.split(network)
        device = self._beginning.example.device
        return torch.cat([logits_of(end(some.to(device))).cpu() for some in in_batches(values, _BATCH)])

    def _agreement(self, outputs: Tensor) -> float:
        return float(agree(self._compared, answers(outputs, len(self._labels))).double().mean())

    def _loss(self, outputs: Tensor) -> float:
        return float(mean_loss(outputs.double(), self._labels))

    def _accuracy(self, outputs: Tensor) -> float:
        return float(hits(outputs, self._labels).double().mean())
