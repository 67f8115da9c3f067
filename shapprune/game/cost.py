"""What scoring costs, in evaluations."""

from __future__ import annotations


class Cost:
    """A counter of evaluations, shared by a game and the games that it hands on when some of its units are gone.

    One evaluation is one coalition valued on all scoring images; a gradient counts as 3.

    Attributes:
        evaluations: the count so far.

    Examples:
        >>> from shapprune.game.cost import Cost
        >>> cost = Cost()
        >>> cost.add(5)
        >>> cost.evaluations
        5.0
    """

    def __init__(self) -> None:
        self.evaluations = 0.0

    def add(self, evaluations: float) -> None:
        """Count more evaluations."""
        self.evaluations += evaluations
