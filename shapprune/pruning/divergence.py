"""How far outputs are from those of the whole network."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from shapprune.game.whole import divergences, mean_where_counted, uncounted
from shapprune.networks.batches import in_batches
from shapprune.networks.losses import logits_of
from shapprune.networks.named_inputs import counted_positions

# Numbers of outputs that are kept of all examples together; of sequences so many positions are looked at.
_KEPT = 2**27
# Standard deviations of a 95 % interval.
_Z = 1.959964


class Agreement(NamedTuple):
    """The share of images on which a smaller network gives the same answer as the whole one.

    Attributes:
        estimate: the share.
        low: the lower end of its 95 % interval.
        high: the upper end.
    """

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.1%} ({self.low:.1%} to {self.high:.1%})"


def divergence(whole: Tensor, outputs: Tensor, temperature: float = 1.0) -> Tensor:
    """The mean Kullback-Leibler divergence of outputs from those of the whole network, in nats.

    It is the mean over examples, of each the mean over its positions that count.

    Args:
        whole: outputs before the softmax, [N, classes, ...]; nan at positions that do not count (`run_intact`).
        outputs: as many.
        temperature: that both are divided by before the softmax.

    Examples:
        >>> import torch
        >>> from shapprune.pruning.divergence import divergence
        >>> outputs = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
        >>> divergence(outputs, outputs).item(), divergence(outputs, -outputs).item() > 0.5
        (0.0, True)
    """
    found = divergences(whole.nan_to_num(posinf=torch.inf) / temperature, outputs / temperature, 1)
    return mean_where_counted(found, whole, 1).mean()


def agree(whole: Tensor, outputs: Tensor) -> Tensor:
    """The share of the positions that count at which the top answers are the same, float64 [N].

    Args:
        whole: as for `divergence`.
        outputs: as there.
    """
    return mean_where_counted((whole.argmax(1) == outputs.argmax(1)).double(), whole, 1)


def interval(same: float, count: int) -> Agreement:
    """The share of images with the same answer, and its 95 % interval.

    Source: Wilson 1927 (https://doi.org/10.1080/01621459.1927.10502953).

    Examples:
        >>> from shapprune.pruning.divergence import interval
        >>> print(interval(90, 100))
        90.0% (82.6% to 94.5%)
    """
    share, weight = same / count, _Z**2 / count
    center = (share + weight / 2) / (1 + weight)
    half = _Z / (1 + weight) * (share * (1 - share) / count + weight / (4 * count)) ** 0.5
    # The ends of an interval of 0 or 1 are these up to rounding.
    return Agreement(share, max(0.0, min(share, center - half)), min(1.0, max(share, center + half)))


def answers(outputs: Any, examples: int) -> Tensor:
    """The outputs before the softmax with classes on the second axis, [N, classes, ...].

    Args:
        outputs: of a network for some examples: [N, classes, ...], or [N, T, classes] of sequences, or these among
            others.
        examples: how many there are in all. Of sequences evenly spaced positions are taken, so many that those of all
            examples can be kept.

    Examples:
        >>> import torch
        >>> from shapprune.pruning.divergence import answers
        >>> answers({"logits": torch.zeros(2, 8, 50)}, 2).shape
        torch.Size([2, 50, 8])
    """
    logits: Tensor = logits_of(outputs)
    if logits.dim() != 3:
        return logits
    length, classes = logits.shape[1:]
    every = -(-length // max(1, _KEPT // (examples * classes)))
    return logits[:, (length - 1) % every :: every].movedim(-1, 1)


@torch.no_grad()
def run(network: torch.nn.Module, images: Tensor, batch: int = 50) -> Tensor:
    """What a network answers, in batches."""
    return torch.cat([answers(network(some), len(images)) for some in in_batches(images, batch)])


@torch.no_grad()
def run_intact(network: torch.nn.Module, images: Tensor, batch: int = 50) -> Tensor:
    """The same of the network that others are compared with: nan at positions that are padding."""
    found = ((some, logits_of(network(some))) for some in in_batches(images, batch))
    return torch.cat([answers(counted_answers(network, some, each), len(images)) for some, each in found])


def counted_answers(network: torch.nn.Module, inputs: Tensor, outputs: Any) -> Any:
    """Outputs of a network for some inputs, with nan at positions that are padding."""
    return uncounted(logits_of(outputs), None, counted_positions(network, inputs))
