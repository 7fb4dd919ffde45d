"""Rows behind one promise: `Database`; SQLite (`sqlite.Sqlite`) or PostgreSQL (`postgres.Postgres`) keeps them."""
