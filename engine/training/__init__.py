"""Training of the networks of a bundle: generator, encoder, segmentation branch."""
