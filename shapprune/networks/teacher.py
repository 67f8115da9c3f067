"""Training with what another network puts out, beside labels or instead of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.networks.losses import logits_of, mean_loss, mean_of_positions
from shapprune.networks.modes import mode


@dataclass(frozen=True)
class Teacher:
    """A network whose outputs another one learns to have.

    With the outputs y of the learner, those of the teacher z, the temperature T and the cross-entropy H(p, q) from
    shares p to shares q, the loss of an example is

        (1 - share) H(label, softmax(y)) + share T² H(softmax(z / T), softmax(y / T))

    T² makes the gradients of both parts about as large. The teacher sees the images as the learner sees them, changed
    at random.

    Source: Hinton et al. 2015 (https://arxiv.org/abs/1503.02531), section 2; the same changes for both as in Beyer et
    al. 2022 (https://arxiv.org/abs/2106.05237).

    Attributes:
        network: the teacher, with as many outputs as the learner; used in eval mode, without gradients.
        share: of the loss that is the teacher's, from 0 to 1.
        temperature: that outputs are divided by before the softmax; the higher, the more the small ones count.

    Raises:
        ShapPruneError: the share is not from 0 to 1, or the temperature is not above 0.

    Examples:
        >>> import torch
        >>> from shapprune.networks.recipe import Recipe
        >>> from shapprune.networks.teacher import Teacher
        >>> from shapprune.networks.training import fit
        >>> images, labels = torch.rand(40, 3), torch.zeros(40, dtype=torch.int64)
        >>> teacher, learner = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
        >>> recipe = Recipe(epochs=30, optimizer="adam", lr=0.1)
        >>> rows = fit(learner, images, labels, images, labels, recipe, progress=False, teacher=Teacher(teacher))
        >>> rows[-1]["train_loss"] < rows[0]["train_loss"]
        True
    """

    network: nn.Module
    share: float = 1.0
    temperature: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ShapPruneError(f"a teacher's share of the loss is from 0 to 1, not {self.share}")
        if not self.temperature > 0:
            raise ShapPruneError(f"the temperature of a teacher is above 0, not {self.temperature}")

    def loss(self, images: Tensor, outputs: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The mean loss of some examples, a number.

        Args:
            images: [N, ...], or sequences of tokens, int64 [N, T].
            outputs: what the learner puts out for them before the softmax, [N, classes] or [N, T, classes].
            labels: int64 [N] or [N, T]; positions whose label does not count are left out of both parts.
            label_smoothing: share of a label that is spread over all classes.
        """
        with torch.no_grad(), mode(self.network, training=False):
            taught = (logits_of(self.network(images)) / self.temperature).softmax(-1)
        softened = (outputs / self.temperature).flatten(0, -2)
        each = F.cross_entropy(softened, taught.flatten(0, -2), reduction="none").view_as(labels)
        like_teacher = self.temperature**2 * mean_of_positions(each, labels).mean()
        return (1 - self.share) * mean_loss(outputs, labels, label_smoothing) + self.share * like_teacher
