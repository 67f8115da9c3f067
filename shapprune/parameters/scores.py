"""Scores of every parameter of a network: Model Shapley of Chu et al. 2025, as published and corrected.

A parameter is a player; it leaves by being set to zero. Around the trained parameters theta the loss is taken for a
quadratic function with gradient g and Hessian H. The Shapley value of parameter i for minus the loss is then

    phi_i = -g_i theta_i + theta_i (H theta)_i / 2.

This is exact for a quadratic loss. The paper has a minus before the second term, which is right only where g and H are
taken at theta = 0; ``sign="paper"`` follows it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.game.payoffs import Payoff
from shapprune.networks.modes import mode, outside_inference
from shapprune.networks.precision import at_precision
from shapprune.networks.randomness import reproducible_sums, seeded
from shapprune.parameters.blocks import Blocks
from shapprune.parameters.choice import choose_parameters
from shapprune.parameters.curvature import Curvature
from shapprune.parameters.expansion import Expansion
from shapprune.parameters.loss import Losses
from shapprune.parameters.pooling import Pooling
from shapprune.parameters.scoring import Scoring
from shapprune.parameters.units import head_places


@dataclass(frozen=True)
class ParameterScores:
    """Scores of parameters for minus the loss; high = keep.

    Attributes:
        first: name of a parameter -> -g theta, in its shape; or ``units`` -> [n], if they were pooled.
        second: the same of the second order, with its sign; empty if there is none.
        both: the same of their sum.
        tied: another name of a shared parameter -> the name under which it was scored, once.
        unreached: parameters that the payoff does not depend on; their scores are zero.
        examples: how many were looked at.
        evaluations: passes of all examples through the whole network; a gradient counts as 3.
        seconds: time that it took.
    """

    first: dict[str, Tensor]
    second: dict[str, Tensor]
    both: dict[str, Tensor]
    tied: dict[str, str] = field(default_factory=dict)
    unreached: tuple[str, ...] = ()
    examples: int = 0
    evaluations: float = 0.0
    seconds: float = 0.0


@outside_inference
def score_parameters(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor | None = None,
    expansion: Expansion | None = None,
    *,
    names: Iterable[str] | None = None,
    payoff: str | Payoff = "loss",
    pooling: Pooling | None = None,
    checkpoint: Path | None = None,
) -> ParameterScores:
    """Score parameters of a network by a second-order expansion of the loss, batch after batch.

    The network runs in eval mode and in float32, and is handed back as it came. Memory is a few times that of the
    parameters scored, beside what the passes of a batch need.

    Args:
        model: the network; it stays where it is.
        inputs: images or tokens, [N, ...].
        labels: [N], of sequences [N, T]; None for payoff ``kl``, which needs none.
        expansion: how to score; by default ``Expansion()``.
        names: of the parameters; None for all floating-point ones. Those that are frozen are scored too. One that is
            shared has the name of its first use.
        payoff: as for `shapprune.LayerGame`; the loss is minus the payoff.
        pooling: pools the scores of each batch to units, before absolute values are taken.
        checkpoint: a file for the state between batches. The same scoring called again goes on from it, with the same
            result. It is left for the caller to delete.

    Raises:
        ShapPruneError: no examples, labels that do not fit, a payoff without gradient, a network without a second
            derivative, a parameter that is unknown or not floating-point, or a score that is not finite.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.parameters.expansion import Expansion
        >>> from shapprune.parameters.scores import score_parameters
        >>> model = nn.Linear(1, 1, bias=False)
        >>> with torch.no_grad():
        ...     _ = model.weight.fill_(3.0)
        >>> def payoff(outputs, labels):  # minus the loss (w x - y)^2 of each example
        ...     return -(outputs[:, 0] - labels) ** 2
        >>> one, two = torch.tensor([[1.0]]), torch.tensor([2.0])
        >>> scores = score_parameters(model, one, two, payoff=payoff)
        >>> scores.first["weight"].item(), scores.second["weight"].item()  # -2 (3 - 2) 3, and 2 * 3^2 / 2
        (-6.0, 9.0)
        >>> scores.both["weight"].item()  # the loss is 4 without the weight and 1 with it
        3.0
        >>> score_parameters(model, one, two, Expansion(sign="paper"), payoff=payoff).both["weight"].item()
        -15.0

    Source: Eq. 7 and Algorithm 2 of Chu et al. 2025; the sign follows from the Shapley value of a quadratic function.
    """
    began = time.perf_counter()
    expansion = expansion or Expansion()
    chosen = choose_parameters(model, pooling.names if names is None and pooling is not None else names)
    if pooling is not None and (missing := [name for name in pooling.names if name not in chosen.weights]):
        raise ShapPruneError(f"units have a part of {missing[0]!r}, which is not among the parameters to be scored")
    losses = Losses(model, chosen, payoff, inputs, labels)
    with (
        mode(model, training=False),
        at_precision("fp32", losses.device),
        seeded(0, losses.device),
        reproducible_sums(),
    ):
        heads = head_places(model, losses.inputs) if expansion.block == "head" else {}
        kind = "matrix" if expansion.block == "head" else expansion.block
        curvature = Curvature(losses, chosen, expansion.hessian, Blocks(kind, chosen.weights, chosen.axes, heads))
        scoring = Scoring(chosen, pooling, expansion, curvature)
        scoring.run(losses, checkpoint)
    first, second, both = scoring.sums.results()
    if wrong := [name for name, each in both.items() if not each.isfinite().all()]:
        raise ShapPruneError(f"the scores of {wrong[0]!r} are not finite; nor is the loss, or a derivative of it")
    return ParameterScores(
        first,
        second,
        both,
        chosen.tied,
        tuple(name for name in chosen.weights if name not in curvature.reached),
        len(losses.inputs),
        curvature.passes,
        scoring.seconds + time.perf_counter() - began,
    )
