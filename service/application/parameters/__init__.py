"""What a request may say: the models that validate its parameters."""
