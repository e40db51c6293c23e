"""Files, pixels and tensors; views, regions of interest and compositing."""
