"""Addresses as numbers: never compared as text, of which one address has many."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# What one customer is given of IPv6: who has one address of it has all of them.
_SHARE_BITS = 64
# Where IPv4 is seen through a socket of IPv6, and through a translator (RFC 6052).
_MAPPED = IPv6Network("::ffff:0:0/96")
_TRANSLATED = IPv6Network("64:ff9b::/96")
_IPV4_BITS = 32
# `[2001:db8::1]`, `[2001:db8::1]:443` and `192.0.2.1:443`.
_WITH_PORT = re.compile(r"\[([^\[\]]+)\](?::\d{1,5})?|([\d.]+):\d{1,5}")
_REMEMBERED_MAX = 4096


@lru_cache(_REMEMBERED_MAX)
def parse(text: str) -> Address | None:
    """The address in a text, None where there is none.

    A port, brackets and the name of an interface are taken off; IPv4 within IPv6 is IPv4.
    """
    text = text.strip()
    found = _WITH_PORT.fullmatch(text)
    if found:
        text = found[1] or found[2]
    try:
        return _plain(ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _TRANSLATED):
        return IPv4Address(int(address) & (2**_IPV4_BITS - 1))
    return address


def share(address: Address) -> str:
    """What is counted as one: an IPv4 address, or an IPv6 network of 64 bits."""
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, _SHARE_BITS), strict=False))


def networks(text: str) -> tuple[Network, ...]:
    """Comma separated addresses and networks. Raises ValueError, which names the first bad one."""
    return tuple(_network(one) for one in map(str.strip, text.split(",")) if one)


def _network(text: str) -> Network:
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is neither an address nor a network such as 10.0.0.0/8"
        ) from None
    # An address behind which a length is wrong is more likely than somebody who means both.
    if "/" in text and ip_address(text.partition("/")[0]) != found.network_address:
        raise ValueError(f"{text!r} is an address within a network: write {found}, or no length")
    for within in (_MAPPED, _TRANSLATED):
        if isinstance(found, IPv6Network) and found.subnet_of(within):
            length = found.prefixlen - within.prefixlen
            return IPv4Network((int(found.network_address) & (2**_IPV4_BITS - 1), length))
    return found


def is_among(address: Address, found: Sequence[Network]) -> bool:
    """Whether an address is in one of these networks."""
    return any(address in network for network in found)
