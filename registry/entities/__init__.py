"""Frozen values that callers get and give."""
