"""Bytes stored by their digest, in a folder or behind any fsspec URL."""
