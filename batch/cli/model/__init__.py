"""Commands of the group `model` that need networks."""
