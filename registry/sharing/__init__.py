"""Vectors in and out: archives, vector files, and the files of other programs."""
