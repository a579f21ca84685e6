"""Which layers of buildah's storage are worth keeping: those of the last builds of each image.

buildah keeps every layer that it ever made, and its own notion of an unused one (no name, no
child) takes in the stages that an image is copied from: to drop these is to download and
compile all of it again. So the builds are watched: `build` notes the layers that each used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

# Of each tag. More than one, so that two branches can be built in turns.
_BUILDS_KEPT = 3
_LINE_CHARACTERS = 100
_LAYER = re.compile(r"(?:--> )?(?:Using cache )?([0-9a-f]{11,64})")
_STEP = re.compile(r"(\[\d+/\d+\] )?STEP \d+/\d+: ")

Builds = Mapping[str, Sequence[Sequence[str]]]


def note_layer(line: str, used: list[str]) -> bool:
    """Note the layer that a line of buildah's output names; tell whether that is all it says."""
    found = _LAYER.fullmatch(line.strip())
    if found is None:
        return False
    used.append(found.group(1))
    return True


def shorten(line: str) -> str:
    """Cut a step's instruction to a line; what its program prints stays whole."""
    if not _STEP.match(line):
        return line
    words = " ".join(line.split())
    return words if len(words) <= _LINE_CHARACTERS else words[: _LINE_CHARACTERS - 2] + " …"


class LayerRecord:
    """The file that holds, for each tag, the layers of its last builds: ids or their beginnings."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def builds(self) -> dict[str, list[list[str]]]:
        """Return the builds of each tag, latest first."""
        if not self._path.exists():
            return {}
        builds: dict[str, list[list[str]]] = json.loads(self._path.read_text())
        return builds

    def add(self, tag: str, used: Sequence[str]) -> None:
        """Note one more build of a tag; the same layers again are the same build."""
        if not used:
            return
        builds = self.builds()
        others = [it for it in builds.get(tag, []) if it != list(used)]
        builds[tag] = [list(used), *others][:_BUILDS_KEPT]
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(builds))
        new.rename(self._path)


def find_unused(images: Iterable[str], builds: Builds, bases: Container[str]) -> list[str]:
    """Return the ids of nameless images that no noted build used, children before parents.

    `images` are lines of `buildah images --all`, newest first: an id and a name. Where one has a
    name, is not of `bases`, and no build of it was noted, all that is older may be its own.
    """
    nameless: list[str] = []
    for line in images:
        identity, name = line.split()
        if name.startswith("<none>"):
            nameless.append(identity.removeprefix("sha256:"))
        elif name not in builds and name not in bases:
            break
    used = {layer[:11] for tag in builds.values() for build in tag for layer in build}
    return [identity for identity in nameless if identity[:11] not in used]
