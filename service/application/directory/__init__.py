"""The institution's directory: its events, snapshots of its information system, and accounts that are merged."""
