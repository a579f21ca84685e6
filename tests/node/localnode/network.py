"""The node's address, kernel settings and firewall rules, and their removal.

What was there before is recorded first, so that `cleanup` can restore it.
Called by `node` and `cleanup`; needs root.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from localnode.commands import run, succeeds
from localnode.paths import STATE

NODE_ADDRESS = "172.30.255.1"
BRIDGE = "igw0"
POD_SUBNET = "10.244.0.0/24"

_CHAIN = "IGW-NODE"
_OWN_CHAIN = re.compile(r"^(KUBE-|CNI-|IGW-)")
# kube-router also puts rules without a chain of its own into the built-in chains.
_OWN_RULE = re.compile(r" -[jg] (KUBE-|CNI-|IGW-)|--comment \"KUBE-ROUTER ")
_OWN_SET = re.compile(r"^(inet6:)?(KUBE-|kube-router-)")
_FAMILIES = ("iptables", "ip6tables")
_RECORD = STATE / "sysctls.json"

_REQUIRED = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/route_localnet": "1",
}
# The bridge hands its traffic to iptables, or policies between pods have no effect.
_IF_PRESENT = {"net/bridge/bridge-nf-call-iptables": "1"}
# kubelet and kube-proxy set these themselves.
_RECORDED_ONLY = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
)


def set_up_network(api_port: int) -> None:
    """Give the node an address, forward packets, and lead 127.0.0.1:PORT to the API server."""
    _record_sysctls()
    for name, value in (_REQUIRED | _IF_PRESENT).items():
        path = Path("/proc/sys") / name
        if name in _REQUIRED or path.exists():
            path.write_text(value)
    if not _has_address():
        run(["ip", "address", "add", f"{NODE_ADDRESS}/32", "dev", "lo"])
    # Dummy interfaces are a module that not every kernel has, so the address is on lo
    # and the API server listens there, where pods reach it.
    target = f"{NODE_ADDRESS}:{api_port}"
    rules = [
        "*nat",
        f":{_CHAIN} - [0:0]",
        f"-A {_CHAIN} -d 127.0.0.1/32 -p tcp --dport {api_port} -j DNAT --to-destination {target}",
        f"-A OUTPUT -j {_CHAIN}",
        "COMMIT",
    ]
    run(["iptables-restore", "--noflush"], text_in="\n".join(rules) + "\n")


def tear_down_network() -> None:
    """Remove links, rules, sets and the address, and restore the kernel settings."""
    if _has_bridge():
        # The kernel takes a pod's link away some time after its namespace. Without the bridge
        # nobody could tell it from other links, so it goes first.
        for link in _list_ports():
            succeeds(["ip", "link", "delete", link])
        run(["ip", "link", "delete", BRIDGE])
    for family in _FAMILIES:
        _drop_own_rules(family)
    for name in list_ip_sets():
        succeeds(["ipset", "destroy", name])
    if _has_address():
        run(["ip", "address", "delete", f"{NODE_ADDRESS}/32", "dev", "lo"])
    _restore_sysctls()


def list_rules(family: str) -> list[str]:
    """List the firewall's chains, and rules in others' chains, that the node's programs made."""
    if not succeeds([f"{family}-save"]):
        return []
    found: list[str] = []
    for table, (rules, chains) in _group_by_table(run([f"{family}-save"])).items():
        found += [f"chain {table}/{chain}" for chain in chains]
        found += [f"rule {table}/{rule}" for rule in rules]
    return found


def list_ip_sets() -> list[str]:
    """List the address sets that NetworkPolicy enforcement made; users before members."""
    if not succeeds(["ipset", "list", "-name"]):
        return []
    names = run(["ipset", "list", "-name"]).split()
    return [name for name in names if _OWN_SET.match(name)]


def list_links() -> list[str]:
    """List the node's network links and addresses."""
    bridge = [f"link {BRIDGE}"] if _has_bridge() else []
    return bridge + ([f"address {NODE_ADDRESS}"] if _has_address() else [])


def build_removal(saved: str) -> str:
    """Turn iptables-save's output into the commands that remove what the node made."""
    lines: list[str] = []
    for table, (rules, chains) in _group_by_table(saved).items():
        if not rules and not chains:
            continue
        lines += [f"*{table}", *(f"-D {rule}" for rule in rules)]
        lines += [f"-F {chain}" for chain in chains]
        lines += [f"-X {chain}" for chain in chains]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n" if lines else ""


def _group_by_table(saved: str) -> dict[str, tuple[list[str], list[str]]]:
    tables: dict[str, tuple[list[str], list[str]]] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
            tables[table] = ([], [])
        elif line.startswith(":"):
            chain = line[1:].split()[0]
            if _OWN_CHAIN.match(chain):
                tables[table][1].append(chain)
        elif line.startswith("-A "):
            rule = line.removeprefix("-A ")
            if not _OWN_CHAIN.match(rule) and _OWN_RULE.search(rule):
                tables[table][0].append(rule)
    return tables


def _drop_own_rules(family: str) -> None:
    if not succeeds([f"{family}-save"]):
        return
    removal = build_removal(run([f"{family}-save"]))
    if removal:
        run([f"{family}-restore", "--noflush"], text_in=removal)


def _list_ports() -> list[str]:
    """Names of the links of pods: ``3: veth1@if2: <…>`` is veth1."""
    lines = run(["ip", "-o", "link", "show", "master", BRIDGE]).splitlines()
    return [line.split(":")[1].split("@")[0].strip() for line in lines]


def _has_bridge() -> bool:
    return succeeds(["ip", "link", "show", "dev", BRIDGE])


def _has_address() -> bool:
    return f" {NODE_ADDRESS}/" in run(["ip", "-o", "-4", "address", "show", "dev", "lo"])


def _record_sysctls() -> None:
    if _RECORD.exists():
        return
    paths = [Path("/proc/sys") / name for name in (*_REQUIRED, *_IF_PRESENT, *_RECORDED_ONLY)]
    found = {str(path): path.read_text().strip() for path in paths if path.exists()}
    _RECORD.parent.mkdir(parents=True, exist_ok=True)
    _RECORD.write_text(json.dumps(found, indent=2))


def _restore_sysctls() -> None:
    if not _RECORD.exists():
        return
    for name, value in json.loads(_RECORD.read_text()).items():
        path = Path(name)
        if path.exists() and path.read_text().strip() != value:
            path.write_text(value)
    _RECORD.unlink()
