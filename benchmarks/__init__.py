"""Benchmarks: ratios measured in one run, against baselines that are tested to give equal scores."""
