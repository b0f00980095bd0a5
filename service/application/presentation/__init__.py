"""What an answer says: conversations, messages, participants, batches and errors in Canvas's shapes."""
