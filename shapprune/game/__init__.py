"""The game of a layer, and how its coalitions are evaluated."""
