"""The audit: what counts as delivered and is not there is written, once; what has changed by right is left."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from service.application.directory.events import apply
from service.application.inbox import participant
from service.application.messages.chunk import ChunkOutcome, deliver_at_once
from service.application.messages.tag_sets import TagSets
from service.domain.event_metadata import Cause
from service.runtime.metrics import exposition
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql import administration, audits, outbox
from sql.connection import Connection
from tests.support.batches import SENDER, Batches
from tests.support.gateway import publishing_nowhere
from tests.support.user_merges import merged
from tests.support.waiting import until
from workers.audit import Auditor

CAUSE = Cause({"root_account_id": "10000000000001"})
PEOPLE = list(range(10, 22))
