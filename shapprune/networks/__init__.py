"""Architectures, training, loading, saving and export of networks."""
