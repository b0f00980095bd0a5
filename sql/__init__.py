"""The database: the schema, named statements and one typed coroutine per statement."""
