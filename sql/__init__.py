"""The database: migrations, named statements and one typed coroutine per statement."""
