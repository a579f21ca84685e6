"""Firewall rules: what the node's programs made is removed, what others made stays."""

from localnode.network import build_removal

SAVED = """\
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:KUBE-SERVICES - [0:0]
:IGW-NODE - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -j IGW-NODE
-A IGW-NODE -d 127.0.0.1/32 -p tcp -m tcp --dport 1 -j DNAT --to-destination 172.30.255.1:1
-A KUBE-SERVICES -j RETURN
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -m comment --comment "KUBE-ROUTER rule" -m mark --mark 0x20000 -j ACCEPT
COMMIT
"""


def test_only_own_rules_and_chains_are_removed() -> None:
    """Jumps into own chains go first, then the chains; other rules are not mentioned."""
    assert build_removal(SAVED).splitlines() == [
        "*nat",
        '-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        "-D OUTPUT -j IGW-NODE",
        "-F KUBE-SERVICES",
        "-F IGW-NODE",
        "-X KUBE-SERVICES",
        "-X IGW-NODE",
        "COMMIT",
        "*filter",
        '-D INPUT -m comment --comment "KUBE-ROUTER rule" -m mark --mark 0x20000 -j ACCEPT',
        "COMMIT",
    ]


def test_nothing_to_remove_is_nothing_to_do() -> None:
    """A machine without rules of ours is not touched."""
    assert build_removal("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n") == ""
