"""One vector on some images."""
