"""Cartoon faces drawn from parameters, with the exact part mask of every picture."""
