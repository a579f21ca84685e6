"""What each verb of the command line does: checks, calls the other modules, prints.

Results go to standard output, everything else to standard error. Only `cli` calls this.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localnode import node
from localnode.build import BuildRequest, build_image
from localnode.cleanup import list_leftovers, remove_cluster
from localnode.ensure import ensure, image_step_name
from localnode.errors import NodeError
from localnode.images import ImageStore, scratch_folder
from localnode.kubeconfig import merge_kubeconfig, remove_from_kubeconfig, write_kubeconfig
from localnode.locks import hold_lock
from localnode.logs import export_logs
from localnode.oci import normalise_reference
from localnode.paths import cache_root
from localnode.progress import say
from localnode.runtime import import_archives, import_stored_images, list_images, tag_image
from localnode.toolchain import binary_path, tool_folder
from localnode.versions import load_versions


def create_cluster(options: argparse.Namespace) -> int:
    """Create the node and add it to a kubeconfig."""
    _require_machine()
    for name in ("config", "image"):
        if getattr(options, name):
            say(f"Ignoring --{name}: the local node has one shape")
    ensure(load_versions(), only=["core"])
    with _node_lock():
        cluster = node.create_cluster(options.name)
    context = _export(cluster, options.kubeconfig)
    say(f"Set kubectl context to {context!r}; the API server is {cluster.url}")
    return 0


def delete_cluster(options: argparse.Namespace) -> int:
    """Delete the node and take it out of the kubeconfig."""
    _require_machine()
    with _node_lock():
        existed = node.delete_cluster(options.name)
    say(f"Deleted cluster {options.name!r}" if existed else f"No cluster {options.name!r}")
    path = _kubeconfig_path(options.kubeconfig)
    if path.exists():
        remove_from_kubeconfig(_kubectl(), path, f"kind-{options.name}")
    return 0


def get_clusters(_: argparse.Namespace) -> int:
    """Print the cluster's name."""
    cluster = node.find_cluster()
    if cluster is None:
        say("No kind clusters found.")
    else:
        _print(cluster.name)
    return 0


def get_nodes(options: argparse.Namespace) -> int:
    """Print the node's name."""
    cluster = node.find_cluster()
    if cluster is None or cluster.name != options.name:
        say(f'No kind nodes found for cluster "{options.name}".')
    else:
        _print(cluster.node_name)
    return 0


def get_kubeconfig(options: argparse.Namespace) -> int:
    """Print the kubeconfig."""
    cluster = node.require_cluster(options.name)
    config = cluster.kubeconfig
    if options.internal:
        config["clusters"][0]["cluster"]["server"] = cluster.internal_url
    with scratch_folder() as scratch:
        path = write_kubeconfig(scratch / "config", config)
        command = [str(_kubectl()), "config", "view", "--raw", f"--kubeconfig={path}"]
        return subprocess.run(command, check=False).returncode


def export_kubeconfig(options: argparse.Namespace) -> int:
    """Add the node to a kubeconfig."""
    context = _export(node.require_cluster(options.name), options.kubeconfig)
    say(f"Set kubectl context to {context!r}")
    return 0


def get_audit_log(options: argparse.Namespace) -> int:
    """Print where the API server records each write."""
    _print(node.require_cluster(options.name).audit_log)
    return 0


def get_path(options: argparse.Namespace) -> int:
    """Print where a binary, or a folder that came with a tool, is in the cache."""
    versions = load_versions()
    known: list[str] = []
    for tool in versions.tools.values():
        known += [*tool.packages, *tool.share]
        if options.artifact in tool.packages:
            _print(str(binary_path(tool, options.artifact)))
            return 0
        if options.artifact in tool.share:
            path = tool_folder(tool) / "share" / options.artifact
            if path.is_dir():
                _print(str(path))
                return 0
            message = f"{options.artifact} is not there yet; run 'tests/node/kind ensure'"
            raise NodeError(message)
    message = f"no artifact {options.artifact!r}; there are {', '.join(sorted(known))}"
    raise NodeError(message)


def export_all_logs(options: argparse.Namespace) -> int:
    """Copy all logs into a folder and print its path."""
    _print(str(export_logs(Path(options.folder))))
    return 0


def load_images(options: argparse.Namespace) -> int:
    """Load images that were built here, or that Docker holds."""
    _require_machine()
    node.require_cluster(options.name)
    store = ImageStore()
    for image in options.images:
        archive = store.archive(image)
        if archive.exists():
            _import(archive)
        elif normalise_reference(image) in list_images():
            say(f"{image} is on the node already")
        else:
            _load_from_docker(image)
    return 0


def load_archive(options: argparse.Namespace) -> int:
    """Load an image archive."""
    _require_machine()
    node.require_cluster(options.name)
    path = Path(options.archive)
    if not path.exists():
        message = f"{path} does not exist; make it with 'docker save' or 'buildah push'"
        raise NodeError(message)
    _import(path)
    return 0


def tag(options: argparse.Namespace) -> int:
    """Give an image on the node another name."""
    _require_machine()
    node.require_cluster(options.name)
    tag_image(options.image, options.tag)
    return 0


def build(options: argparse.Namespace) -> int:
    """Build a Dockerfile, and load the image if a node runs."""
    _require_machine()
    context = Path(options.context).resolve()
    file = Path(options.file).resolve() if options.file else context / "Dockerfile"
    versions = load_versions()
    ensure(
        versions,
        only=("packages", *(image_step_name(base.reference) for base in versions.base_images)),
    )
    request = BuildRequest(
        tag=options.tag,
        context=context,
        dockerfile=file,
        target=options.target,
        build_args=tuple(options.build_arg),
    )
    store = ImageStore()
    made = build_image(store, request, versions.base_images)
    say(f"{options.tag} {'built' if made else 'up to date'}")
    if node.is_running():
        _import(store.archive(options.tag))
    return 0


def ensure_all(options: argparse.Namespace) -> int:
    """Build and install what the node is made of."""
    _require_linux()
    only = [name for name in options.only.split(",") if name]
    if not ensure(load_versions(), only=only, jobs=options.jobs):
        say("Every part is in the cache")
    # A node that was created from fewer parts gets the images of the others now.
    if os.geteuid() == 0 and node.is_running():
        _say_loaded(import_stored_images(ImageStore()))
    return 0


def purge(_: argparse.Namespace) -> int:
    """Remove everything from this machine but the cache."""
    _require_machine()
    with _node_lock():
        remove_cluster(keep_images=False)
    return verify_clean(_)


def verify_clean(_: argparse.Namespace) -> int:
    """List what is left of the node on this machine."""
    _require_machine()
    leftovers = list_leftovers()
    for line in leftovers:
        _print(line)
    if leftovers:
        say(f"{len(leftovers)} left; run 'tests/node/kind purge'")
        return 1
    say("Nothing of the node is left on this machine")
    return 0


def print_versions(_: argparse.Namespace) -> int:
    """Print what the node is made of."""
    for tool in load_versions().tools.values():
        _print(f"{tool.name} {tool.version}")
    return 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _require_linux() -> None:
    if sys.platform != "linux":
        message = "the local node needs Linux; elsewhere install Docker and kind"
        raise NodeError(message)


def _require_machine() -> None:
    _require_linux()
    if os.geteuid() != 0:
        message = "the local node needs root; run the same command with sudo -E"
        raise NodeError(message)


@contextmanager
def _node_lock() -> Iterator[None]:
    path = cache_root() / "locks" / "node"
    with hold_lock(path, lambda: say("Waiting for another command to finish …")):
        yield


def _kubectl() -> Path:
    return binary_path(load_versions().tools["kubernetes"], "kubectl")


def _kubeconfig_path(explicit: str | None) -> Path:
    chosen = explicit or os.environ.get("KUBECONFIG", "").split(":")[0]
    return Path(chosen) if chosen else Path.home() / ".kube" / "config"


def _export(cluster: node.Cluster, explicit: str | None) -> str:
    with scratch_folder() as scratch:
        merge_kubeconfig(_kubectl(), _kubeconfig_path(explicit), cluster.kubeconfig, scratch)
    return str(cluster.kubeconfig["current-context"])


def _import(archive: Path) -> None:
    _say_loaded(import_archives([archive]))


def _say_loaded(references: list[str]) -> None:
    for reference in references:
        say(f"Loaded {reference}")


def _load_from_docker(image: str) -> None:
    docker = shutil.which("docker")
    if docker is None:
        message = f"image {image!r} is not here; run 'tests/node/kind build -t {image} CONTEXT'"
        raise NodeError(message)
    with scratch_folder() as scratch:
        archive = scratch / "image.tar"
        if subprocess.run([docker, "save", "-o", str(archive), image], check=False).returncode:
            message = f"Docker does not have {image!r} either; build it first"
            raise NodeError(message)
        _import(archive)
