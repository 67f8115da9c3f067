"""Criteria that rank units, and the catalog of all of them."""
