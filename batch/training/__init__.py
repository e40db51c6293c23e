"""Generator, encoder and segmentation branch of a class, trained from a folder."""
