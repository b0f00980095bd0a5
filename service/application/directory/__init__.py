"""The institution's directory: its events, and accounts that are merged."""
