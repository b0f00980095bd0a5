"""POST /conversations/:id/add_recipients: newcomers with the adder's history, announced to all (endpoints.md 4.8)."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.application.address_book.recipient_checks import check_tags
from service.application.address_book.recipients import resolve
from service.application.address_book.request_tags import request_tags
from service.application.messages.reply_checks import check_room
from service.application.messages.reply_tags import file_message
from service.application.messages.tag_sets import TagSets
from service.domain.errors import Code, Refusal, invalid
from service.runtime import event_metadata
from service.runtime.ids import IdBlocks
from service.runtime.settings import Settings
from sql import outbox, replies
from sql.connection import Connection
from sql.replies import LockedThread, Thread
from sql.tags import retag_conversations, retag_participants


@dataclass(frozen=True, slots=True)
class AddRecipients:
    """The request, parsed."""

    adder_id: int
    conversation_id: int
    recipients: Sequence[str]
    context_code: str | None = None
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that may be carried out: those it names, in the conversation or not, and its tags."""

    recipients: Sequence[int]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Adder:
    """What adding people needs of its process."""

    settings: Settings
    ids: IdBlocks
    tag_sets: TagSets

    async def validate(self, conn: Connection, request: AddRecipients) -> Checked:
        """Raises the first Refusal: nobody to add, too many, a private conversation."""
        thread = await replies.find_thread(conn, request.adder_id, request.conversation_id)
        if thread is None:
            raise Refusal(Code.NOT_FOUND)
        await check_tags(
            conn,
            sender_id=request.adder_id,
            recipients=request.recipients,
            group_conversation=True,
            bulk_message=False,
        )
        recipients = await resolve(
            conn, sender_id=request.adder_id, recipients=request.recipients, context_code=request.context_code
        )
        if not recipients:
            raise Refusal(Code.NO_RECIPIENTS)
        self._check(thread, recipients)
        tags = await request_tags(
            conn, tags=request.tags, recipients=request.recipients, context_code=request.context_code
        )
        return Checked(recipients, tags)

    def _check(self, thread: Thread, recipients: Sequence[int]) -> None:
        self._check_room(thread.participants, recipients)
        if thread.private:
            raise invalid("recipients", "nobody can be added to a private conversation")

    def _check_room(self, participants: Sequence[int], recipients: Sequence[int]) -> None:
        size = self.settings.max_group_conversation_size
        check_room(participants, recipients, size, "too many participants for group conversation")

    async def add(self, conn: Connection, request: AddRecipients, plan: Checked) -> None:
        """Within the caller's transaction; nothing happens when everybody is in.

        Raises what postgres.CONFLICT lists when a send met it: roll back, run again.
        """
        thread = await replies.lock_thread(conn, request.conversation_id)
        moment = await replies.next_moment(conn, request.conversation_id)
        self._check_room([*thread.participants, *moment.joining], plan.recipients)
        newcomers = [user for user in plan.recipients if user not in thread.participants]
        if newcomers:
            await self._join(conn, request, plan, thread, newcomers)
            message_id = await self.ids.take(conn, 1)
            await replies.announce_arrival(
                conn,
                conversation_id=request.conversation_id,
                message_id=message_id,
                adder_id=request.adder_id,
                at=moment.at,
                root_account_id=self.settings.root_account_id,
                newcomers=newcomers,
            )
            await outbox.record_message(
                conn,
                event_metadata.current(),
                event="forwarded",
                author_id=request.adder_id,
                created_at=moment.at,
                conversation_id=request.conversation_id,
                message_id=message_id,
            )

    async def _join(
        self,
        conn: Connection,
        request: AddRecipients,
        plan: Checked,
        thread: LockedThread,
        newcomers: Sequence[int],
    ) -> None:
        """The generated message files everybody's row anew, old participants' too (semantics.md 4.3)."""
        everybody = thread._replace(participants=thread.participants | dict.fromkeys(newcomers, 0))
        filed = await file_message(
            conn,
            self.tag_sets,
            everybody,
            request_tags=plan.tags,
            receivers=everybody.participants,
            private=False,
        )
        tag_sets = dict(zip(filed.users, filed.tag_sets, strict=True))
        await replies.join_with_history(
            conn, request.conversation_id, request.adder_id, [(user, tag_sets[user]) for user in newcomers]
        )
        changed = [
            (request.conversation_id, user, tag_sets[user])
            for user, before in thread.participants.items()
            if tag_sets[user] != before
        ]
        if changed:
            await retag_participants(conn, changed)
        if filed.conversation_tag_set != thread.tag_set:
            await retag_conversations(conn, [(request.conversation_id, filed.conversation_tag_set)])
