"""Care of a library: verify its bytes, find contradictions, collect garbage."""
