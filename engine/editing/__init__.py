"""Latents found by descent: learn, refine, optimise and invert, with their losses."""
