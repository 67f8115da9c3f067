"""Figures of a study, each drawn from its tables. Nothing else in the package knows matplotlib.

A figure is of one network. Its seeds and trials are runs, drawn as their mean with one standard deviation.
"""
