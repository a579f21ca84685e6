import socket

import pytest

from igw_runtime.errors import InvalidSettingsError
from igw_runtime.serving import listening
from igw_runtime.serving.listening import (
    choose_host,
    join_address,
    open_listener,
    split_host,
    unmap_ipv4,
)


def test_named_host_is_bound_as_it_is() -> None:
    """Who says where to listen is obeyed."""
    assert choose_host("10.0.0.1") == "10.0.0.1"


@pytest.mark.parametrize(("has_ipv6", "expected"), [(True, "::"), (False, "0.0.0.0")])  # noqa: S104
def test_every_family_there_is_is_served(
    monkeypatch: pytest.MonkeyPatch, has_ipv6: bool, expected: str
) -> None:
    """A cluster of IPv6 alone reaches its pods; so does a kernel without IPv6."""
    monkeypatch.setattr(listening, "_has_ipv6", lambda: has_ipv6)

    assert choose_host("") == expected


def test_one_socket_takes_both_families() -> None:
    """IPv4 and IPv6 clients come in at the same door; small answers leave it at once."""
    host = choose_host("")
    with open_listener(host, 0) as listener:
        port = listener.getsockname()[1]
        for address in ["127.0.0.1", "::1"] if host == "::" else ["127.0.0.1"]:
            socket.create_connection((address, port), timeout=5).close()
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_taken_port_names_the_setting() -> None:
    """A clash says what to change."""
    with open_listener("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidSettingsError, match=rf"server\.port: cannot listen on {port}"):
            open_listener("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("::", "[::]:80"), ("fd00::1", "[fd00::1]:80"), ("10.0.0.1", "10.0.0.1:80")],
)
def test_addresses_are_written_as_url_authorities(host: str, expected: str) -> None:
    """The colons of an IPv6 address are not those of its port."""
    assert join_address(host, 80) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [("photos:8080", "photos"), ("photos", "photos"), ("[fd00::1]:8080", "fd00::1"), ("[", "")],
)
def test_host_header_is_split_from_its_port(header: str, expected: str) -> None:
    """Also where the host is an IPv6 address."""
    assert split_host(header) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [("::ffff:10.0.0.9", "10.0.0.9"), ("10.0.0.9", "10.0.0.9"), ("fd00::1", "fd00::1")],
)
def test_ipv4_clients_keep_their_address(address: str, expected: str) -> None:
    """A socket of both families shows them as mapped; nobody searches traces for that."""
    assert unmap_ipv4(address) == expected
