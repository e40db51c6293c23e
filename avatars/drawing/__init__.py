"""The renderer: a cartoon face and its exact part mask from parameters."""
