"""Files of other programs: checkpoints and classifiers, read without running anything in them."""
