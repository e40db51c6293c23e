"""Embeddings ahead of time, as a run of its own."""
