"""Attacks and faults of the catalogue, each a test named by its id."""
