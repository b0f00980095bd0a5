"""Whom a sender may write to: recipients, rights, and what a request is filed under."""
