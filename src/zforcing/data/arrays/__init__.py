"""Sequences of people's own, in arrays and tables."""
