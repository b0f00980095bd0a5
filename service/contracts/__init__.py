"""Wire messages and topology constants: what other processes and neighbours see."""
