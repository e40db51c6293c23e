"""Library and everything that works on its rows."""
