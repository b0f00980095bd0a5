"""Following the institution: directory events, and accounts that are merged."""
