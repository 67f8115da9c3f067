"""The loss of each example as a function of some of a network's parameters."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call

from shapprune.core.errors import ShapPruneError
from shapprune.game.payoffs import Answers, Payoff, check_payoff, find_payoff, read_labels, require_gradient
from shapprune.game.whole import WITHOUT_LABELS
from shapprune.networks.batches import split_in_batches
from shapprune.networks.losses import logits_of
from shapprune.networks.modes import mode
from shapprune.parameters.choice import Chosen


class Losses:
    """Minus the payoff of each example.

    Args:
        model: the network; its own parameters and their gradients are not touched.
        chosen: the parameters that the losses are functions of.
        payoff: a name or a function, as for `shapprune.LayerGame`.
        inputs: images or tokens, [N, ...].
        labels: [N] or [N, T], or None.

    Attributes:
        device: where the parameters are.
        inputs: there, [N, ...].

    Raises:
        ShapPruneError: no examples, numbers that are not finite, labels that do not fit, or a payoff without gradient.
    """

    def __init__(self, model: nn.Module, chosen: Chosen, payoff: str | Payoff, inputs: Tensor, labels: Tensor | None):
        if len(inputs) == 0:
            raise ShapPruneError("parameters are scored on 0 examples, 1 or more are needed")
        self._model, self._weights, self._payoff = model, chosen.weights, find_payoff(payoff)
        self.device = next(iter(chosen.weights.values())).device
        self.inputs, self._labels = inputs.to(self.device), read_labels(labels, len(inputs), self.device)
        if (wrong := ~self.inputs.flatten(1).isfinite().all(1)).any():
            raise ShapPruneError(f"example {int(wrong.nonzero()[0])} has numbers that are not finite")
        with mode(model, training=False), torch.no_grad():
            outputs = model(self.inputs[:2].clone())
        answers = Answers(self._labels, lambda: logits_of(outputs))
        check_payoff(self._payoff, outputs, answers, self.inputs)
        require_gradient(self._payoff, outputs, answers)

    def batches(self, size: int) -> list[tuple[Tensor, Tensor | None]]:
        """The examples in batches, each with its labels if there are any; the network is handed copies of them."""
        inputs = split_in_batches(self.inputs, size)
        labels = [None] * len(inputs) if self._labels is None else split_in_batches(self._labels, size)
        return list(zip(inputs, labels, strict=True))

    def answers_of(self, inputs: Tensor, labels: Tensor | None) -> Tensor:
        """What the payoff compares the outputs for a batch with: labels, or outputs of the intact network."""
        if self._payoff in WITHOUT_LABELS.values():
            with torch.no_grad():
                return logits_of(self._model(inputs.clone()))
        assert labels is not None
        return labels

    def __call__(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """The losses of a batch, [N]."""
        return -self._payoff(functional_call(self._model, self._weights, (inputs.clone(),)), answers)

    def identity(self) -> Iterator[object]:
        """What decides the losses beside the parameters: network, payoff, examples and device."""
        yield getattr(self._payoff, "__module__", "") + getattr(self._payoff, "__qualname__", repr(self._payoff))
        yield from (self._model, self.device.type, self.inputs, self._labels)
        for pair in self._model.state_dict().items():
            yield from pair
