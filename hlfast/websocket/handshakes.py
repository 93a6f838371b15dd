"""Handshakes under way: they are bounded, and one address has its share of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hlfast import addresses
from hlfast.addresses import Network


class Waiting(Protocol):
    """A connection whose handshake was not answered yet."""

    def abort(self) -> None:
        """Cut the connection, without a word to the client."""


class Handshakes:
    """Connections that have not said yet what they want, by address: an IPv6 /64 is one address.

    Beyond `handshakes_max` the address that has most of them loses its oldest one, so that an
    address that opens connections without end takes nothing from the others. Proxies that are
    trusted speak for many, and are not counted.
    """

    def __init__(self, handshakes_max: int, trusted: Sequence[Network] = ()) -> None:
        self._handshakes_max = handshakes_max
        self._trusted = trusted
        # Both in the order of their beginning.
        self._by_address: dict[str, dict[Waiting, None]] = {}
        self._addresses: dict[Waiting, str] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def begin(self, connection: Waiting, host: str) -> None:
        """A connection was accepted from a host."""
        address = addresses.parse(host)
        if address is not None and addresses.is_among(address, self._trusted):
            return
        share = addresses.share(address) if address is not None else ""
        self._addresses[connection] = share
        self._by_address.setdefault(share, {})[connection] = None
        if len(self._addresses) > self._handshakes_max:
            most = max(self._by_address.values(), key=len)
            oldest = next(iter(most))
            self.end(oldest)
            oldest.abort()

    def end(self, connection: Waiting) -> None:
        """The handshake was answered, or the connection is gone."""
        share = self._addresses.pop(connection, None)
        if share is None:
            return
        theirs = self._by_address[share]
        del theirs[connection]
        if not theirs:
            del self._by_address[share]
