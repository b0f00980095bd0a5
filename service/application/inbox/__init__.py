"""What one user sees and does with their own conversations."""
