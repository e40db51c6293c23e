"""A library of learned editing vectors, and a batch processor that applies them to folders.

Everything installed lies below this package. In the checkout the rooms stand beside it, at the
top, and `editvec/registry`, `editvec/engine` and the others are links to them: one name to import,
and the folders where one looks for them.
"""
