"""How parameters are scored: the options of `shapprune.parameters.scores.score_parameters`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.parameters.accumulation import ABSOLUTES, SIGNS, Accumulated
from shapprune.parameters.blocks import KINDS, Kind
from shapprune.parameters.curvature import HESSIANS


@dataclass(frozen=True)
class Expansion:
    """How parameters are scored.

    Attributes:
        hessian: ``exact`` (Hessian-vector products), ``fisher`` (mean of the outer products of each example's
            gradient), ``batch`` (outer product of the batch's gradient), ``shipped`` (G G' of each matrix G of the
            batch's gradients, as in the paper's code) or ``none`` (first order alone).
        block: between which parameters second derivatives count: ``parameter`` (the diagonal alone), ``row`` (with its
            bias), ``matrix``, ``head`` (parameters of no head: ``matrix``), ``layer`` or ``whole``. With ``exact`` each
            block costs a backward pass.
        sign: of the second order, ``corrected`` or ``paper``.
        absolute: ``none``, ``batch`` (absolute values of each batch's scores are added up) or ``sum`` (of the sum).
        alpha: weight of a batch in an exponentially weighted mean, in (0, 1); None for the mean over all examples.
        unbiased: whether the former is corrected for having started at zero.
        batch: examples in a batch, at least 1. It changes the scores of ``batch`` and ``shipped``, of ``absolute``
            values of batches, and with ``alpha``; others by rounding alone.

    Raises:
        ShapPruneError: a value that is not allowed, or two that do not fit together.

    Source: Eq. 7 and Algorithm 2 of Chu et al. 2025, "Model Shapley".
    """

    hessian: Literal["exact", "fisher", "batch", "shipped", "none"] = "exact"
    block: Kind = "whole"
    sign: Literal["corrected", "paper"] = "corrected"
    absolute: Literal["none", "batch", "sum"] = "none"
    alpha: float | None = None
    unbiased: bool = True
    batch: int = 32

    def __post_init__(self) -> None:
        if self.sign not in SIGNS:
            raise unknown("sign", self.sign, SIGNS)
        if self.absolute not in ABSOLUTES:
            raise unknown("absolute", self.absolute, ABSOLUTES)
        if self.batch < 1:
            raise ShapPruneError(f"a batch of {self.batch} examples is not possible, it needs 1 or more")
        if self.hessian not in HESSIANS:
            raise unknown("Hessian", self.hessian, HESSIANS)
        if self.block not in KINDS:
            raise unknown("block", self.block, KINDS)
        if self.hessian == "shipped" and self.block != "matrix":
            raise ShapPruneError(
                f"Hessian 'shipped' is G G' of each matrix, so block {self.block!r} does not fit; give 'matrix'"
            )
        Accumulated(self.alpha)
