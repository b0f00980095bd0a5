"""What every process needs to run: settings, logs, database pool, broker, metrics."""
