"""Kinds of games, by the class of each, and what a criterion of one scores."""

SCORES = {"LayerGame": "units of a layer", "BranchGame": "residual branches and blocks"}
# Kinds of players of a `BranchGame`; where layers are listed, the players together are called so.
PARTS = ("branches", "blocks")


def game_of(layer: str) -> str:
    """The kind of game that is played for a name in a list of layers."""
    return "BranchGame" if layer in PARTS else "LayerGame"
