"""Part masks: index PNGs, operations on them, and whatever a mask is read from."""
