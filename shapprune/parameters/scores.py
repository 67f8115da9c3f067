"""Scores of every parameter of a network: Model Shapley of Chu et al. 2025, as published and corrected.

A parameter is a player; it leaves by being set to zero. Around the trained parameters theta the loss is taken for a
quadratic function with gradient g and Hessian H. The Shapley value of parameter i for minus the loss is then

    phi_i = -g_i theta_i + theta_i (H theta)_i / 2.

This is exact for a quadratic loss. The paper has a minus before the second term, which is right only where g and H are
taken at theta = 0; ``sign="paper"`` follows it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from shapprune.core.checkpoint import digest, load_checkpoint, save_checkpoint
from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.game.payoffs import Payoff
from shapprune.networks.modes import mode, outside_inference
from shapprune.networks.precision import at_precision
from shapprune.networks.randomness import reproducible_sums, seeded
from shapprune.parameters.accumulation import SIGNS, Sums
from shapprune.parameters.blocks import Blocks
from shapprune.parameters.choice import Chosen, choose_parameters
from shapprune.parameters.curvature import Curvature
from shapprune.parameters.expansion import Expansion
from shapprune.parameters.loss import Losses
from shapprune.parameters.units import Pooling, head_places

INTERVAL = 30.0  # seconds between two writes of a checkpoint


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
        ShapPruneError: no examples, labels that do not fit, a payoff without gradient, a parameter that is unknown or
            not floating-point, or a score that is not finite.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.parameters.scores import Expansion, score_parameters
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
        scoring = _Scoring(chosen, pooling, expansion, curvature)
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


class _Scoring:
    """A scoring that is under way.

    Args:
        chosen: the parameters.
        pooling: of them, or None.
        expansion: how they are scored.
        curvature: of the loss.

    Attributes:
        sums: over the batches so far.
        seconds: that the part before a checkpoint took.
    """

    def __init__(self, chosen: Chosen, pooling: Pooling | None, expansion: Expansion, curvature: Curvature):
        self._chosen, self._pooling, self._expansion, self._curvature = chosen, pooling, expansion, curvature
        self.sums, self.seconds = Sums(expansion.absolute, expansion.alpha, expansion.unbiased), 0.0

    def run(self, losses: Losses, checkpoint: Path | None) -> None:
        """Go through all batches, or those that a checkpoint lacks."""
        done, began = 0, time.perf_counter()
        identity = "" if checkpoint is None else self._identity(losses)
        if (state := load_checkpoint(checkpoint, identity)) is not None:
            done, self.seconds = state["batches"], state["seconds"]
            self.sums.restore(state["sums"], losses.device)
            self._curvature.reached |= set(state["reached"])
        written = began
        batches = losses.batches(self._expansion.batch)
        for inputs, answers in track(batches[done:], "batches"):
            first, second = self._terms(inputs, losses.answers_of(inputs, answers))
            self.sums.add(first, second, len(inputs))
            del first, second  # the next batch needs the room
            done += 1
            if checkpoint is not None and time.perf_counter() - written >= INTERVAL:
                seconds, reached = self.seconds + time.perf_counter() - began, sorted(self._curvature.reached)
                state = {"batches": done, "seconds": seconds, "sums": self.sums.state(), "reached": reached}
                save_checkpoint(checkpoint, identity, state)
                written = time.perf_counter()

    def _terms(self, inputs: Tensor, answers: Tensor) -> Iterator[dict[str, Tensor]]:
        """The terms of first and second order of a batch, of each parameter or pooled to units."""
        factors = -1.0, SIGNS[self._expansion.sign]
        for found, factor in zip(self._curvature.of(inputs, answers), factors, strict=True):
            terms = {}
            for name, weight in self._chosen.weights.items() if found else ():
                terms[name] = found.pop(0) * weight.detach() * factor  # what is used is let go of
            yield terms if self._pooling is None or not terms else {"units": self._pooling(terms)}

    def _identity(self, losses: Losses) -> str:
        """All that decides the outcome, as text."""
        parts = [] if self._pooling is None else self._pooling.parts
        places = [each for part in parts for each in (part.name, part.axis, part.places)]
        how = None if self._pooling is None else self._pooling.how
        weights = [each for pair in self._chosen.weights.items() for each in pair]
        return digest([self._expansion, how, *places, *weights, *losses.identity()])
