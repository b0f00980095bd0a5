"""Where a request comes from and under which address it was sent, as far as proxies are believed (CONTRACT 6.17)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

_HOST = re.compile(r"([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?", re.ASCII)
_NODE = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}|([0-9A-Fa-f:.]+)", re.ASCII)
_MAX_PORT = 65_535
_REMEMBERED = 1_000  # hosts and addresses: the same ones come again and again
_SCHEMES = frozenset({"http", "https"})


@dataclass(frozen=True, slots=True)
class Host:
    """A host as URLs have it: ``authority`` with the port, if one was given, ``name`` without."""

    authority: str
    name: str


@lru_cache(_REMEMBERED)
def parse_host(text: str) -> Host | None:
    """A name, an IPv4 or a bracketed IPv6 address, perhaps with a port; None for what is no host."""
    match = _HOST.fullmatch(text)
    if match is None or (match[2] is not None and not 0 < int(match[2]) <= _MAX_PORT):
        return None
    if match[1].startswith("[") and not isinstance(_address(match[1][1:-1]), IPv6Address):
        return None
    return Host(text, match[1])


def parse_networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks between commas; ValueError names what is neither."""
    return tuple(ip_network(item.strip()) for item in text.split(",") if item.strip())


@dataclass(frozen=True, slots=True)
class Path:
    """How a request came here. ``proxies``: how many trusted ones it passed, one after the other, at the end."""

    client: str | None
    proxies: int = 0

    def forwarded(self, values: Sequence[str]) -> str | None:
        """What the first of the trusted proxies says in a header of which each may replace or extend the value.

        None without a trusted proxy, or where they say nothing.
        """
        items = _items(values)
        return items[max(len(items) - self.proxies, 0)] if self.proxies and items else None


def trace(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> Path:
    """The way back from the connection's other end, as long as it is a trusted proxy that says for whom it asks.

    ``forwarded_for``: the values of X-Forwarded-For. What is no address there ends the way: the proxy before it is the
    last that is known.
    """
    client, proxies = peer, 0
    before = _items(forwarded_for)
    while client is not None and _is_trusted(client, trusted):
        proxies += 1
        match = _NODE.fullmatch(before.pop()) if before else None
        found = _address(match[1] or match[2] or match[3]) if match else None
        if found is None:
            break
        client = str(found)
    return Path(client, proxies)


def scheme_of(path: Path, forwarded_proto: Sequence[str], own: str) -> str:
    """``https`` where a trusted proxy says so, else the connection's own."""
    said = (path.forwarded(forwarded_proto) or "").lower()
    return said if said in _SCHEMES else own


def host_of(path: Path, forwarded_host: Sequence[str], own: Sequence[str]) -> Host | None:
    """The host that the client asked: the one a trusted proxy names, else that of the Host header.

    None for what is no host, and for several Host headers.
    """
    said = path.forwarded(forwarded_host)
    if said is None:
        said = own[0] if len(own) == 1 else ""
    return parse_host(said)


def _items(values: Sequence[str]) -> list[str]:
    return [item for value in values for part in value.split(",") if (item := part.strip())]


@lru_cache(_REMEMBERED)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    address = _address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address is not None and any(address in network for network in trusted)
