"""The database: engine, tables, and the door to the migrations."""
