"""Classes come in and are stored."""
