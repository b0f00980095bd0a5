"""What each route's conversations say: the keys in which answers differ (canvas/endpoints.md 3 and 4)."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Profile:
    """What an answer has of each conversation.

    ``messages``: no such key, one message, or all that the viewer has. ``avatars`` and ``contexts``: the pictures of
    participants, and what they share with the viewer. ``forwarded_authors``: people whose messages are forwarded are
    among the participants. ``visible``: the value of that key, None to look whether the viewer's list holds the
    conversation.
    """

    messages: Literal["none", "one", "all"] = "none"
    avatars: bool = True
    contexts: bool = True
    context_name: bool = False
    forwarded_authors: bool = False
    visible: bool | None = None


# GET /conversations (4.1): what is listed is visible.
LIST = Profile(avatars=False, contexts=False, context_name=True, visible=True)
LIST_WITH_AVATARS = replace(LIST, avatars=True)

# POST /conversations (4.2): one conversation comes with its new message, several come bare.
CREATED_ONE = Profile(messages="one", forwarded_authors=True)
CREATED_MANY = Profile(avatars=False, contexts=False)

# GET /conversations/:id (4.4).
SHOWN = Profile(messages="all", context_name=True, forwarded_authors=True)
SHOWN_WITHOUT_CONTEXTS = replace(SHOWN, contexts=False)

# PUT /conversations/:id (4.5) and POST …/remove_messages (4.10).
UPDATED = Profile()
# DELETE /conversations/:id (4.7): it is in no list any more.
DELETED = replace(UPDATED, visible=False)

# POST …/add_recipients (4.8): the newest message that the adder sees.
RECIPIENTS_ADDED = Profile(messages="one")

# POST …/add_message (4.9): the new message; one that is queued is put in by its route.
MESSAGE_ADDED = Profile(messages="one")
MESSAGE_QUEUED = Profile()
