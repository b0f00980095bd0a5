"""Dead letters: what could not be handled, kept with its reason."""
