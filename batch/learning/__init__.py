"""A vector from an edited mask."""
