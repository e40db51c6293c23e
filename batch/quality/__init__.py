"""How well a class shows, reconstructs and segments photographs."""
