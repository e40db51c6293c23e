"""One mini-batch of images: read, embed, edit, measure, gate."""
