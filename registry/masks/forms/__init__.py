"""The forms in which annotation tools write part masks, each read into labels of a scheme."""
