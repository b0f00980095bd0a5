"""Whose word about a request's origin is taken (CONTRACT 6.17)."""

import pytest

from service.domain.origins import Path, host_of, parse_host, parse_networks, scheme_of, trace

PROXIES = parse_networks("10.0.0.0/8, 192.0.2.7,2001:db8::/32")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("school.example", "school.example"),
        ("school.example:8080", "school.example"),
        ("localhost", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:8080", "[::1]"),
        ("under_score", "under_score"),
    ],
)
def test_hosts(text: str, name: str) -> None:
    found = parse_host(text)

    assert found is not None
    assert (found.authority, found.name) == (text, name)


@pytest.mark.parametrize(
    "text",
    ["", " ", "a b", "a/b", "a:", ":80", "a:0", "a:65536", "a:x", "u@a", "a?b", "a#b", "[::1", "[1.2]", "[g::]", "a,b"],
)
def test_what_is_no_host(text: str) -> None:
    assert parse_host(text) is None


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy.example", "10.0.0.0/33", "10.0.0.1;10.0.0.2"])
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_networks(text)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        ("203.0.113.9", ["198.51.100.1"], Path("203.0.113.9", 0)),  # no proxy of ours: its word counts for nothing
        ("10.0.0.1", ["198.51.100.1"], Path("198.51.100.1", 1)),
        ("10.0.0.1", [], Path("10.0.0.1", 1)),
        ("10.0.0.1", ["198.51.100.1, 192.0.2.7"], Path("198.51.100.1", 2)),
        ("10.0.0.1", ["198.51.100.1", "192.0.2.7"], Path("198.51.100.1", 2)),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9"], Path("203.0.113.9", 1)),  # what the client made up stands further left
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9, 192.0.2.7"], Path("203.0.113.9", 2)),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], Path("10.0.0.2", 3)),
        ("10.0.0.1", ["198.51.100.1:5678"], Path("198.51.100.1", 1)),
        ("10.0.0.1", ["[2001:db9::1]:5678"], Path("2001:db9::1", 1)),
        ("10.0.0.1", ["2001:db9::1"], Path("2001:db9::1", 1)),
        ("10.0.0.1", ["unknown"], Path("10.0.0.1", 1)),
        ("10.0.0.1", ["198.51.100.1, garbage"], Path("10.0.0.1", 1)),
        ("::ffff:10.0.0.1", ["198.51.100.1"], Path("198.51.100.1", 1)),
        ("2001:db8::7", ["198.51.100.1"], Path("198.51.100.1", 1)),
        (None, ["198.51.100.1"], Path(None, 0)),
    ],
)
def test_the_client_is_the_first_who_is_no_trusted_proxy(
    peer: str | None, forwarded_for: list[str], expected: Path
) -> None:
    assert trace(peer, forwarded_for, PROXIES) == expected


@pytest.mark.parametrize(
    ("proxies", "values", "expected"),
    [
        (0, ["a"], None),
        (1, [], None),
        (1, ["a"], "a"),
        (1, ["made up, a"], "a"),
        (2, ["a, b"], "a"),
        (2, ["made up, a", "b"], "a"),
        (2, ["a"], "a"),
    ],
)
def test_the_first_of_the_trusted_proxies_has_the_word(proxies: int, values: list[str], expected: str | None) -> None:
    assert Path("1.1.1.1", proxies).forwarded(values) == expected


def test_schemes_and_hosts_of_trusted_proxies_and_of_nobody_else() -> None:
    behind, past = Path("1.1.1.1", 1), Path("1.1.1.1")

    assert scheme_of(behind, ["HTTPS"], "http") == "https"
    assert scheme_of(behind, ["gopher"], "http") == "http"
    assert scheme_of(past, ["https"], "http") == "http"
    assert host_of(behind, ["school.example"], ["10.1.1.1:8080"]) == parse_host("school.example")
    assert host_of(behind, [], ["10.1.1.1:8080"]) == parse_host("10.1.1.1:8080")
    assert host_of(past, ["school.example"], ["10.1.1.1:8080"]) == parse_host("10.1.1.1:8080")
    assert host_of(behind, ["a b"], ["10.1.1.1"]) is None
    assert host_of(past, [], []) is None
    assert host_of(past, [], ["a", "a"]) is None
