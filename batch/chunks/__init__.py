"""One chunk in work: the loop, its lease, and how it stops."""
