"""Which addresses the process listens on: every one of the pod, whichever families it has.

A pod of an IPv6-only cluster has no IPv4 address but its loopback; one of a dual-stack cluster
may be asked on either. A socket of IPv6 takes both, where the kernel has IPv6 at all.
"""

import socket
from typing import Final

from igw_runtime.errors import InvalidSettingsError

BACKLOG: Final = 2048
_PROBING: Final = {
    socket.TCP_KEEPIDLE: 60,
    socket.TCP_KEEPINTVL: 15,
    socket.TCP_KEEPCNT: 4,
}
_ALL_FAMILIES: Final = "::"
_ALL_IPV4: Final = "0.0.0.0"  # noqa: S104  a pod's server faces its network
_MAPPED_IPV4: Final = "::ffff:"


def choose_host(asked: str) -> str:
    """Return the address to bind: what is asked for, else all of the machine's."""
    return asked or (_ALL_FAMILIES if _has_ipv6() else _ALL_IPV4)


def open_listener(host: str, port: int) -> socket.socket:
    """Listen for HTTP."""
    family = _find_family(host)
    try:
        listener = socket.create_server(
            (host, port),
            family=family,
            backlog=BACKLOG,
            dualstack_ipv6=host == _ALL_FAMILIES,
        )
    except OSError as error:
        message = f"server.port: cannot listen on {port}: {error.strerror}"
        raise InvalidSettingsError(message) from error
    # Accepted sockets inherit it. asyncio sets it only on sockets made with an explicit
    # protocol number, and without it every answer on a kept connection waits 40 ms for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Inherited as well: connections are kept for an hour, those of a node that died are not.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBING.items():
        listener.setsockopt(socket.IPPROTO_TCP, option, value)
    return listener


def join_address(host: str, port: int) -> str:
    """Write host and port as one text, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if _find_family(host) is socket.AF_INET6 else f"{host}:{port}"


def unmap_ipv4(address: str) -> str:
    """Return an IPv4 peer's address as it is written everywhere else."""
    return address.removeprefix(_MAPPED_IPV4) if "." in address else address


def split_host(header: str) -> str:
    """Return the host of a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def _find_family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _has_ipv6() -> bool:
    """Try it: what is compiled in may be switched off for this machine or this pod."""
    if not socket.has_dualstack_ipv6():
        return False
    try:
        with socket.create_server((_ALL_FAMILIES, 0), family=socket.AF_INET6, dualstack_ipv6=True):
            return True
    except OSError:
        return False
