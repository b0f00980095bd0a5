"""From a clean checkout to a running service: ``deploy/run`` and ``deploy/test`` (CONTRACT 1)."""
