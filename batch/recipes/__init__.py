"""What to do: settings, edits, scales, boxes."""
