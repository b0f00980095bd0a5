"""The process that parses long bodies, and what becomes of a request when it ends."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from service.api.parser import Parser
from service.api.parser_process import ParserError
from service.api.unavailable import Unavailable
from service.domain.brackets import Nested, Repeated
from service.domain.encodings import Encoding, read_body
from service.domain.errors import Refusal

FORM = b"a[b]=1&c=2&c=3&d[0]=4&body=%C3%A9"
BOUNDARY = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="a[]"\r\n\r\nx\r\n--b--\r\n'


@pytest.fixture
async def parser() -> AsyncIterator[Parser]:
    """One whose process starts with the first body."""
    made = Parser(patience=60)
    yield made
    await made.close()


async def process_of(parser: Parser) -> int:
    """The id of its process, which has parsed something by then."""
    with capture_logs() as lines:
        await parser.parse(Encoding.FORM, "", FORM)
    (pid,) = (line["pid"] for line in lines if line["event"] == "parser_started")
    return int(pid)


@pytest.mark.parametrize(
    ("encoding", "content_type", "raw"),
    [(Encoding.FORM, "", FORM), (Encoding.MULTIPART, BOUNDARY, PART), (Encoding.JSON, "", b'{"a":[1,null,{"b":"c"}]}')],
)
async def test_a_body_means_there_what_it_means_here(
    parser: Parser, encoding: Encoding, content_type: str, raw: bytes
) -> None:
    parameters, seconds = await parser.parse(encoding, content_type, raw)
    assert parameters == read_body(encoding, content_type, raw)
    assert seconds > 0


async def test_the_kinds_of_values_survive_the_way_back(parser: Parser) -> None:
    parameters, _ = await parser.parse(Encoding.FORM, "", FORM)
    assert {name: type(value) for name, value in parameters.items()} == {
        "a": Nested,
        "c": Repeated,
        "d": Nested,
        "body": str,
    }


async def test_a_refusal_is_the_same(parser: Parser) -> None:
    with pytest.raises(Refusal) as here:
        read_body(Encoding.JSON, "", b"{")
    with pytest.raises(Refusal) as there:
        await parser.parse(Encoding.JSON, "", b"{")
    assert (there.value.code, there.value.message) == (here.value.code, here.value.message)


async def test_after_its_process_has_ended_another_one_parses(parser: Parser) -> None:
    """What the one that ended had been given is not asked again: it may be what it died of."""
    pid = await process_of(parser)
    os.kill(pid, signal.SIGSTOP)
    given = asyncio.create_task(parser.parse(Encoding.FORM, "", FORM))
    for _ in range(3):
        await asyncio.sleep(0)  # it has asked
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Unavailable):
        await given
    assert (await parser.parse(Encoding.FORM, "", b"a=1"))[0] == {"a": "1"}


async def test_what_the_parser_did_not_foresee_is_an_error_of_ours(parser: Parser) -> None:
    with pytest.raises(ParserError, match="Traceback"):
        await parser.parse(Encoding.MULTIPART, cast(str, None), PART)
    assert (await parser.parse(Encoding.FORM, "", b"a=1"))[0] == {"a": "1"}


async def test_modules_of_the_current_folder_are_none_of_its_own(
    parser: Parser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "orjson.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    assert (await parser.parse(Encoding.FORM, "", b"a=1"))[0] == {"a": "1"}


async def test_a_process_that_is_stuck_is_ended() -> None:
    parser = Parser(patience=0)
    with capture_logs() as lines, pytest.raises(Unavailable):
        await parser.parse(Encoding.FORM, "", FORM)
    (pid,) = (line["pid"] for line in lines if line["event"] == "parser_started")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_it_goes_behind_the_gateway_where_processors_are_scarce(parser: Parser) -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, await process_of(parser)) == min(ours + 5, 19)


async def test_signals_to_the_whole_group_leave_it_alone(parser: Parser) -> None:
    """The gateway decides when it ends."""
    pid = await process_of(parser)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    assert (await parser.parse(Encoding.FORM, "", b"a=1"))[0] == {"a": "1"}


async def test_who_comes_after_a_request_that_was_given_up_gets_an_answer_to_the_own_question(parser: Parser) -> None:
    pid = await process_of(parser)
    os.kill(pid, signal.SIGSTOP)
    given_up = asyncio.create_task(parser.parse(Encoding.FORM, "", b"a=1"))
    for _ in range(3):
        await asyncio.sleep(0)  # it has its turn, and has asked
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    next_one = asyncio.create_task(parser.parse(Encoding.FORM, "", b"a=2"))
    os.kill(pid, signal.SIGCONT)
    assert (await next_one)[0] == {"a": "2"}
