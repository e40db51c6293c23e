"""What people read of a run: pages, sheets, counts and audits."""
