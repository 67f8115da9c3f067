"""What a network may cost.

Importing this module costs nothing, so that a budget is checked before anything is loaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.pruning.target import require_one

# Measure of a budget -> the measure of a size that it limits, and how many of its units there are in one of the budget.
MEASURES = {"macs": ("macs", 1), "parameters": ("parameters", 1), "megabytes": ("bytes", 1_000_000)}
NAMES = (*MEASURES, "milliseconds", "ratio")


@dataclass(frozen=True)
class Budget:
    """What a network may cost, by exactly one measure.

    A number below 1 is a share of what the network costs now, any other an absolute number.

    Attributes:
        macs: multiply-accumulate operations for an image.
        parameters: how many there are.
        megabytes: millions of bytes of parameters and buffers.
        milliseconds: that a pass of one image takes, on the device of the network.
        ratio: share of the units of every layer that leaves, between 0 and 1.

    Raises:
        ShapPruneError: not exactly one measure, or a value that no network could have.

    Examples:
        >>> from shapprune.pruning.budget import Budget
        >>> budget = Budget(macs=0.25)
        >>> budget.measure, budget.limit(1000), str(budget)
        ('macs', 250.0, '0.25 of the MACs')
    """

    macs: float | None = None
    parameters: float | None = None
    megabytes: float | None = None
    milliseconds: float | None = None
    ratio: float | None = None

    def __post_init__(self) -> None:
        require_one(**{name: getattr(self, name) for name in NAMES})
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise ShapPruneError(f"ratio {self.ratio} is not strictly between 0 and 1, the share of units that leaves")
        if not (0 < self.amount < math.inf):
            raise ShapPruneError(
                f"{self.measure} {self.amount:g} is no budget; give a share of the present cost between 0 and 1, or an"
                " absolute number"
            )

    @classmethod
    def of(cls, measure: str, amount: float) -> Budget:
        """The budget of one measure.

        Raises:
            ShapPruneError: there is no such measure, or a value that no network could have.
        """
        if measure not in NAMES:
            raise unknown("measure of a budget", measure, NAMES)
        return cls(**{measure: amount})

    @property
    def measure(self) -> str:
        """The name of the measure that was given."""
        return next(name for name in NAMES if getattr(self, name) is not None)

    @property
    def amount(self) -> float:
        """The number that was given."""
        return float(getattr(self, self.measure))

    def limit(self, present: float) -> float:
        """What the network may cost.

        Args:
            present: what it costs now, in the measure's own unit.

        Raises:
            ShapPruneError: it costs no more than that now.
        """
        limit = self.amount * present if self.amount < 1 else self.amount
        if limit >= present:
            raise ShapPruneError(f"the network has {present:,.6g} {self.measure} now, which is within {limit:,.6g}")
        return limit

    def __str__(self) -> str:
        words = {"macs": "MACs", "ratio": "units"}
        what = words.get(self.measure, self.measure)
        if self.measure == "ratio":
            return f"{self.amount:.3g} of the units of each layer gone"
        return f"{self.amount:.4g} {what}" if self.amount >= 1 else f"{self.amount:.3g} of the {what}"
