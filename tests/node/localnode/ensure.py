"""Plans what has to be there before a cluster can start, and makes what is missing.

Every step is skipped when the cache holds its result, so a second run takes a
moment; a run that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from localnode.errors import NodeError
from localnode.images import (
    ImageStore,
    base_image_key,
    make_base_image,
    make_tool_image,
    tool_image_key,
)
from localnode.packages import find_missing, install_packages
from localnode.progress import Step, run_steps
from localnode.toolchain import build_tool, is_built
from localnode.versions import BaseImage, GoTool, ToolImage, Versions

_IMAGE_SECONDS = 4


def ensure(versions: Versions, *, only: Iterable[str] = (), jobs: int = 0) -> bool:
    """Make the node, or the named steps and sets and their needs; tell if any was missing."""
    steps = plan_steps(versions, jobs=jobs)
    asked = list(only) or list_parts(versions)
    wanted = select_steps(find_needs(versions), asked, versions.sets)
    return run_steps([step for step in steps if step.name in wanted])


def plan_steps(versions: Versions, *, jobs: int = 0) -> list[Step]:
    """List every step in the order of the versions file: parts first, images last."""
    store = ImageStore()
    steps = [
        Step(
            name="packages",
            label=f"{len(versions.apt_packages)} distribution packages",
            seconds=versions.apt_seconds,
            is_done=lambda: not find_missing(versions.apt_packages),
            act=lambda: install_packages(versions.apt_packages),
        )
    ]
    steps += [_tool_step(tool, jobs) for tool in versions.tools.values()]
    steps += [_base_step(store, image) for image in versions.base_images]
    steps += [_image_step(store, image, versions.tools) for image in versions.images]
    return steps


def find_needs(versions: Versions) -> dict[str, set[str]]:
    """Return what has to be made before each step."""
    needs: dict[str, set[str]] = {"packages": set()}
    needs |= {name: set() for name in versions.tools}
    needs |= {image_step_name(base.reference): {"packages"} for base in versions.base_images}
    for image in versions.images:
        tools = {source.partition(":")[0] for source in image.files.values() if ":" in source}
        local = {"packages"} if any(":" not in source for source in image.files.values()) else set()
        needs[image_step_name(image.reference)] = tools | local
    return needs


def list_parts(versions: Versions) -> list[str]:
    """Return the steps of what the node is made of: all but what is made on demand, or of it."""
    on_demand = {tool.name for tool in versions.tools.values() if tool.on_demand}
    needs = find_needs(versions)
    return [name for name, needed in needs.items() if not {name, *needed} & on_demand]


def select_steps(
    needs: Mapping[str, set[str]],
    only: Iterable[str],
    sets: Mapping[str, Sequence[str]],
) -> set[str]:
    """Return the steps to run: those named, alone or in a set, and their needs."""
    asked = list(only)
    selected: set[str] = set()
    while asked:
        name = asked.pop()
        if name in sets:
            asked += sets[name]
            continue
        if name not in needs:
            message = f"there is no step {name!r}; choose from {', '.join([*sets, *needs])}"
            raise NodeError(message)
        if name not in selected:
            selected.add(name)
            asked += needs[name]
    return selected


def image_step_name(reference: str) -> str:
    """Name an image's step by the image's own name."""
    return f"image/{reference.rpartition('/')[2].partition(':')[0]}"


def _tool_step(tool: GoTool, jobs: int) -> Step:
    return Step(
        name=tool.name,
        label=f"{tool.name} {tool.version}",
        seconds=tool.build_seconds,
        is_done=partial(is_built, tool),
        act=partial(build_tool, tool, jobs),
    )


def _base_step(store: ImageStore, image: BaseImage) -> Step:
    return Step(
        name=image_step_name(image.reference),
        label=f"image {image.reference}",
        seconds=image.build_seconds,
        is_done=lambda: store.holds(image.reference, base_image_key(image)),
        act=lambda: make_base_image(store, image),
    )


def _image_step(store: ImageStore, image: ToolImage, tools: dict[str, GoTool]) -> Step:
    return Step(
        name=image_step_name(image.reference),
        label=f"image {image.reference}",
        seconds=_IMAGE_SECONDS,
        is_done=lambda: store.holds(image.reference, tool_image_key(image, tools)),
        act=lambda: make_tool_image(store, image, tools),
    )
