"""Output formats of a run: what is written beside the database, from the same rows."""
