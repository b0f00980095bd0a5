"""Clarion: the Canvas Conversations API with bulk sends carried by RabbitMQ and written to PostgreSQL."""
