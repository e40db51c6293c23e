"""Training of the networks of a bundle: segmentation branch, encoder."""
