"""Vectors measured beside each other, in pairs."""
