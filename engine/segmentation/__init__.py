"""The segmentation branch, and how its labels are computed fast."""
