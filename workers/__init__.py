"""Consumers of commands and events."""
