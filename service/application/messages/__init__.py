"""Writing: new conversations, replies, added people, and the chunks of a batch."""
