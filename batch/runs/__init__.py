"""The truth about work, in SQL: plans, runs, leases, progress."""
