"""The group `train`: one command for each network of a class."""
