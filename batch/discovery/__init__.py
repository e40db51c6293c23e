"""Vectors without a mask."""
