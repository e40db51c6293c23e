"""CUDA operations, each beside the PyTorch reference that defines it."""
