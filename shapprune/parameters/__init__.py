"""Scores of single parameters from a second-order expansion of the loss, and what they are used for."""
