"""The command line: kind's verbs, and a few of the local node's own.

Parses, and hands over to `verbs`; `tests/node/kind` is its executable.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from localnode import verbs
from localnode.errors import NodeError
from localnode.progress import say

_DEFAULT_NAME = "kind"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status."""
    options = build_parser().parse_args(arguments)
    act: Callable[[argparse.Namespace], int] = options.act
    try:
        return act(options)
    except NodeError as error:
        say(f"ERROR: {error}")
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        say("interrupted; run the same command again to go on")
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="kind", description="A real single-node Kubernetes without Docker, with kind's verbs."
    )
    groups = parser.add_subparsers(required=True, metavar="VERB")
    _add_cluster_verbs(groups)
    _add_get_verbs(groups)
    _add_image_verbs(groups)
    _add_machine_verbs(groups)
    return parser


def _group(groups: Any, name: str, text: str) -> Any:
    return groups.add_parser(name, help=text).add_subparsers(required=True, metavar="WHAT")


def _verb(
    group: Any,
    name: str,
    text: str,
    act: Callable[[argparse.Namespace], int],
    *,
    named: bool = False,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = group.add_parser(name, help=text)
    parser.set_defaults(act=act)
    if named:
        parser.add_argument("--name", "-n", default=_DEFAULT_NAME, help="the cluster's name")
    return parser


def _add_cluster_verbs(groups: Any) -> None:
    create = _group(groups, "create", "create a cluster")
    verb = _verb(create, "cluster", "create the node", verbs.create_cluster, named=True)
    verb.add_argument("--kubeconfig", help="file to add the cluster to")
    verb.add_argument("--config", help="for kind only; the local node has one shape")
    verb.add_argument("--image", help="for kind only; versions.toml pins the version")
    verb.add_argument("--wait", help="accepted; the node is always waited for")
    delete = _group(groups, "delete", "delete a cluster")
    verb = _verb(delete, "cluster", "delete the node", verbs.delete_cluster, named=True)
    verb.add_argument("--kubeconfig", help="file to remove the cluster from")


def _add_get_verbs(groups: Any) -> None:
    get = _group(groups, "get", "print clusters, nodes, kubeconfig, paths")
    _verb(get, "clusters", "names of the clusters", verbs.get_clusters)
    _verb(get, "nodes", "names of the nodes", verbs.get_nodes, named=True)
    verb = _verb(get, "kubeconfig", "the kubeconfig", verbs.get_kubeconfig, named=True)
    verb.add_argument("--internal", action="store_true", help="the address that pods can reach")
    _verb(
        get,
        "audit-log",
        "path of the API server's record of writes",
        verbs.get_audit_log,
        named=True,
    )
    verb = _verb(get, "path", "path of a binary or folder of the cache", verbs.get_path)
    verb.add_argument("artifact", help="kubectl, promtool, prometheus-operator-crds, …")
    export = _group(groups, "export", "collect logs or the kubeconfig")
    verb = _verb(export, "logs", "copy all logs to a folder", verbs.export_all_logs, named=True)
    verb.add_argument("folder", nargs="?", default="igw-node-logs")
    verb = _verb(
        export, "kubeconfig", "add the cluster to a kubeconfig", verbs.export_kubeconfig, named=True
    )
    verb.add_argument("--kubeconfig", help="file to add the cluster to")


def _add_image_verbs(groups: Any) -> None:
    load = _group(groups, "load", "load images into the node")
    verb = _verb(load, "docker-image", "load built images", verbs.load_images, named=True)
    verb.add_argument("images", nargs="+", metavar="IMAGE")
    verb = _verb(load, "image-archive", "load an archive", verbs.load_archive, named=True)
    verb.add_argument("archive", metavar="FILE")
    verb = _verb(groups, "tag", "give an image on the node another name", verbs.tag, named=True)
    verb.add_argument("image", metavar="IMAGE")
    verb.add_argument("tag", metavar="NAME")
    verb = _verb(groups, "build", "build a Dockerfile for this and later clusters", verbs.build)
    verb.add_argument("-t", "--tag", required=True)
    verb.add_argument("-f", "--file", help="default: CONTEXT/Dockerfile")
    verb.add_argument("--target", default="", help="stage to stop at")
    verb.add_argument("--build-arg", action="append", default=[], metavar="KEY=VALUE")
    verb.add_argument("context", metavar="CONTEXT")


def _add_machine_verbs(groups: Any) -> None:
    verb = _verb(groups, "ensure", "build and install what the node is made of", verbs.ensure_all)
    verb.add_argument("--only", default="", help="steps or sets of versions.toml, comma-separated")
    verb.add_argument(
        "--jobs", type=int, default=0, help="parallel compilations; default: all cores"
    )
    _verb(groups, "purge", "remove everything from this machine but the cache", verbs.purge)
    _verb(
        groups, "verify-clean", "list what is left on this machine; fail if any", verbs.verify_clean
    )
    _verb(groups, "version", "print the versions", verbs.print_versions)
