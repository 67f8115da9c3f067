"""Criteria of residual branches and blocks. All return `UnitScores`; high = keep."""

from __future__ import annotations

import torch
from torch import Tensor

from shapprune.game.branch_game import BranchGame
from shapprune.graph.rows import counted_rows
from shapprune.networks.losses import mean_where
from shapprune.shapley.criterion import criterion


@criterion("block-influence")
def block_influence(game: BranchGame) -> Tensor:
    """How far a branch or block turns the values that go through it, 1 - their cosine similarity (Men et al. 2024).

    What goes in and what comes out, the shortcut with it, are compared at each position over the features, and averaged
    over positions, without padding. No payoff plays a role. Values are [N, n]. The cost is one evaluation.

    Source: Eq. 1 of Men et al. 2024, "ShortGPT: layers in large language models are more redundant than you expect".
    """

    def turned(player: int, before: Tensor, after: Tensor, images: Tensor) -> Tensor:
        one, other = (each.movedim(game.feature_axis(player), -1).double() for each in (before, after))
        lengths = one.norm(dim=-1) * other.norm(dim=-1)
        cosine = torch.where(lengths > 0, (one * other).sum(-1) / lengths, 0)
        cosine[(one == other).all(-1)] = 1  # also where both are zero
        cosine = cosine.reshape(len(cosine), -1)
        there = None if game.counted is None else counted_rows(game.counted[images], cosine)
        return 1 - (cosine.mean(1) if there is None else mean_where(cosine, there))

    return game.through(turned)
