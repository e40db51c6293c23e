"""Sums of vectors, projection, and how the terms work together."""
