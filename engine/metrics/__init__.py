"""Measures of edits and of whole sets of images."""
