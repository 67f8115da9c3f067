"""Kinds of games, by the class of each, and what a criterion of one scores."""

SCORES = {"LayerGame": "units of a layer", "BranchGame": "residual branches and blocks"}
