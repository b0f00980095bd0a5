"""Sign-in by the institution: the issuer's keys, where they come from, and verifying with them (CONTRACT 3.5)."""
