"""Metadata as events carry it."""

import orjson

from service.domain.event_metadata import TEXT_LIMIT, global_id, metadata


def test_keys_without_a_value_are_absent() -> None:
    assert metadata({"user_login": None, "referrer": "", "url": "/"}) == {"url": "/"}


def test_long_text_is_cut() -> None:
    assert metadata({"user_agent": "x" * 10_000}) == {"user_agent": "x" * TEXT_LIMIT}


def test_what_no_json_can_hold_is_replaced() -> None:
    """aiohttp hands on bytes that are no UTF-8 as lone surrogates."""
    made = metadata({"user_agent": b"caf\xe9\0".decode("utf-8", "surrogateescape")})

    assert made == {"user_agent": "caf??"}
    assert orjson.loads(orjson.dumps(made)) == made


def test_global_ids_contain_the_shard() -> None:
    assert global_id(42, 1) == "10000000000042"
    assert global_id(42, 2107) == "21070000000000042"
