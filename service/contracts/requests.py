"""Requests of other systems, which send messages without HTTP (CONTRACT 4).

A request is the JSON of POST /conversations (service/application/parameters/create_conversation.py) with the keys of
``Request`` among its own. The answer goes to the queue that the message names in ``reply_to``.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from service.contracts.versions import Version

# Headers of an answer, beside those that HTTP would have, X-Conversation-Batch-Id above all.
REPLAYED = "Idempotency-Replayed"
OMITTED = "Body-Omitted"

# RabbitMQ takes no longer messages unless it is configured to.
MAX_ANSWER_BYTES = 16_000_000


class Request(BaseModel):
    """What a request has besides the parameters of POST /conversations."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    version: Version = 1
    as_user_id: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="Who sends: an id, or `uuid:X`, `sis_user_id:X`, `sis_login_id:X`."
    )
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(
        description="The user's own. What comes again under it within 24 hours is only answered again, as before."
    )


class RequestAnswer(BaseModel):
    """The answer. HTTP's headers are headers of the message; its correlation_id is that of the request."""

    model_config = ConfigDict(frozen=True)

    status: int = Field(description="As POST /conversations would give.")
    body: Any = Field(description="As POST /conversations would give; null with a header Body-Omitted.")
