"""Finding people and contexts to write to."""
