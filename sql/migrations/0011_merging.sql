-- Merging of user accounts (canvas/semantics.md 2.6).

-- Accounts that are no more: a message that was on its way to one of them is looked for here and handed on.
CREATE INDEX users_merged ON users (id) WHERE merged_into_user_id IS NOT NULL;

-- What was forwarded out of a conversation, which may be merged into another one.
CREATE INDEX sends_forwarded ON sends (forwarded_conversation_id) WHERE forwarded_conversation_id IS NOT NULL;
