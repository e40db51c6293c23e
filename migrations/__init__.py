"""The migrations of the database: the only creator of tables, those of the runs included."""
