"""Addresses: one of them in every form that it is written in, and what is none."""

from __future__ import annotations

import pytest

from hlfast import addresses
from hlfast.web.request import Head, client_address

FORMS = {
    "203.0.113.7": [
        "203.0.113.7", " 203.0.113.7 ", "203.0.113.7:40001", "203.0.113.7:40002",
        "::ffff:203.0.113.7", "::FFFF:cb00:7107", "[::ffff:203.0.113.7]:443",
        "0:0:0:0:0:ffff:203.0.113.7", "64:ff9b::203.0.113.7",
    ],
    "2001:db8::1": [
        "2001:db8::1", "2001:DB8:0:0:0:0:0:1", "2001:0db8::0001", "[2001:db8::1]",
        "[2001:db8::1]:40001", "2001:db8::1%eth0", "[2001:db8::1%eth0]:1",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("address", "form"), [(address, form) for address, forms in FORMS.items() for form in forms]
)
def test_every_form_is_one_address(address: str, form: str) -> None:
    assert str(addresses.parse(form)) == address


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "unknown", "_hidden", "localhost", "203.0.113", "203.0.113.256", "0203.0.113.7",
        "203.0.113.7:", "203.0.113.7:123456", "203.0.113.7:x", "[203.0.113.7", "2001:db8::1]:1",
        "203.0.113.0/24", "1", "::1::", "\u0660.0.0.1", "203.0.113.7, 203.0.113.8",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    assert addresses.parse(text) is None


def test_who_shares_an_address() -> None:
    def share(text: str) -> str:
        address = addresses.parse(text)
        assert address is not None
        return addresses.share(address)

    assert share("192.0.2.1") != share("192.0.2.2")
    assert share("2001:db8:0:7::1") == share("2001:db8:0:7:ffff:ffff:ffff:ffff")
    assert share("2001:db8:0:7::1") != share("2001:db8:0:8::1")
    # These are IPv4 addresses, not one network of them all.
    assert share("::ffff:192.0.2.1") == share("192.0.2.1") != share("::ffff:192.0.2.2")


def client(peer: str, forwarded_for: str, trusted: str) -> str:
    """The client of a request from a peer with such a header."""
    head = Head(b"", forwarded_for=forwarded_for.encode())
    scope = {"client": (peer, 1)} if peer else {}
    return str(client_address(scope, head, addresses.networks(trusted)) or "")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "trusted", "found"),
    [
        ("127.0.0.1", "192.0.2.1", "127.0.0.0/8", "192.0.2.1"),
        ("127.0.0.9", "192.0.2.1", "127.0.0.0/8", "192.0.2.1"),
        ("::ffff:127.0.0.1", "192.0.2.1", "127.0.0.1", "192.0.2.1"),
        ("127.0.0.1", "192.0.2.1", "::ffff:127.0.0.0/104", "192.0.2.1"),
        ("fd00::7", "192.0.2.1:77", "fd00::/8", "192.0.2.1"),
        # The last one that is no proxy, however the proxies are written.
        ("127.0.0.1", "192.0.2.9, 192.0.2.1, 10.1.2.3:80", "127.0.0.1,10.0.0.0/8", "192.0.2.1"),
        ("127.0.0.1", "10.0.0.2, ::ffff:10.0.0.1", "127.0.0.1, 10.0.0.0/8", "10.0.0.2"),
        # What a proxy could not tell is counted for the proxy, and what stands before is not read.
        ("127.0.0.1", "192.0.2.1, unknown", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1, unknown, 10.0.0.1", "127.0.0.1,10.0.0.1", "10.0.0.1"),
        ("127.0.0.1", ",,", "127.0.0.1", "127.0.0.1"),
        # Nobody's word.
        ("192.0.2.7", "192.0.2.1", "127.0.0.1", "192.0.2.7"),
        ("127.0.0.1", "192.0.2.1", "", "127.0.0.1"),
        ("", "192.0.2.1", "127.0.0.1", ""),
    ],
)
def test_who_the_client_is(peer: str, forwarded_for: str, trusted: str, found: str) -> None:
    assert client(peer, forwarded_for, trusted) == found


@pytest.mark.parametrize(
    "text",
    ["nonsense", "127.0.0.1:8000", "10.0.0.1/8", "10.0.0.0/33", "localhost", "127.0.0.1;10.0.0.1",
     "127.0.0.1 10.0.0.1", "10.0.0.*", "10.0.0.1-10.0.0.9", "127.0.0.1, nonsense", "fd00::1/8"],
)  # fmt: skip
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither an address nor a network|write "):
        addresses.networks(text)
