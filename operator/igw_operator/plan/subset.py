"""Whether everything desired is in a live object, as the API server would judge it.

The live object has more: defaults, status, what others added. So maps are compared key by
desired key. Lists that server-side apply merges are compared by their keys; all others are
atomic, so they need the same length, but their elements may have grown defaults too.

Values are equal where Kubernetes says so: quantities by what they stand for (``1000m`` is
``1``), int-or-string by its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from igw_operator.api.fields import parse_quantity
from igw_operator.api.objects import Manifest

# Path without indices -> keys of the merged list (x-kubernetes-list-map-keys in the API's
# schemas) with the defaults of the keys that may be absent.
_POD: Final = "spec.template.spec"
_LIST_KEYS: Final[Mapping[str, Mapping[str, Any]]] = {
    "metadata.ownerReferences": {"uid": None},
    "spec.ports": {"port": None, "protocol": "TCP"},
    "spec.groups": {"name": None},
    f"{_POD}.imagePullSecrets": {"name": None},
    f"{_POD}.volumes": {"name": None},
    f"{_POD}.topologySpreadConstraints": {"topologyKey": None, "whenUnsatisfiable": None},
    f"{_POD}.containers": {"name": None},
    f"{_POD}.initContainers": {"name": None},
    f"{_POD}.initContainers.env": {"name": None},
    f"{_POD}.initContainers.volumeMounts": {"mountPath": None},
    f"{_POD}.containers.env": {"name": None},
    f"{_POD}.containers.ports": {"containerPort": None, "protocol": "TCP"},
    f"{_POD}.containers.volumeMounts": {"mountPath": None},
}
_QUANTITY: Final = re.compile(r"(\.(limits|requests)\..+|\.sizeLimit|\.averageValue)$")
_INT_OR_STRING: Final = re.compile(r"\.(targetPort|port|maxSurge|maxUnavailable|minAvailable)$")
# Maps with the user's own keys: there an empty string is a value like any other.
_FREE_MAP: Final = re.compile(
    r"(^|\.)(labels|annotations|matchLabels|nodeSelector|data|limits|requests)$"
)
_SCALARS: Final = frozenset({str, int, float, bool})


def find_misses(desired: Manifest, live: Manifest) -> Iterator[str]:
    """The paths of the desired values that the live object lacks or has otherwise."""
    return _compare(desired, live, "", "")


def _compare(desired: Any, live: Any, path: str, shape: str) -> Iterator[str]:
    """Walk both; ``path`` is for people, ``shape`` the same without indices and keys."""
    if isinstance(desired, dict):
        if not isinstance(live, dict):
            yield path
            return
        yield from _compare_maps(desired, live, path, shape)
    elif isinstance(desired, list):
        if not isinstance(live, list):
            yield path
            return
        yield from _compare_lists(desired, live, path, shape)
    elif not _is_equal(desired, live, shape):
        yield path


def _compare_maps(
    desired: dict[str, Any], live: dict[str, Any], path: str, shape: str
) -> Iterator[str]:
    for key, value in desired.items():
        if type(value) in _SCALARS and type(value) is type(live.get(key)) and value == live[key]:
            continue  # nearly all are; it saves the paths and the rules
        if key in live:
            yield from _compare(value, live[key], _join(path, key), _join(shape, key))
        elif value != "" or _FREE_MAP.search(shape):
            # The API server leaves empty strings of its own fields out of what it returns.
            yield _join(path, key)


def _compare_lists(desired: list[Any], live: list[Any], path: str, shape: str) -> Iterator[str]:
    if desired == live:
        return  # a hundred times faster than the walk; alert rules are one long list
    keys = _LIST_KEYS.get(shape)
    if keys is not None:
        by_key = {_read_key(item, keys): item for item in live}
        for item in desired:
            key = _read_key(item, keys)
            item_path = f"{path}[{','.join(str(part) for part in key)}]"
            if key in by_key:
                yield from _compare(item, by_key[key], item_path, shape)
            else:
                yield item_path
    elif len(desired) != len(live):
        yield path
    else:
        for index, (item, live_item) in enumerate(zip(desired, live, strict=True)):
            yield from _compare(item, live_item, f"{path}[{index}]", shape)


def _read_key(item: Mapping[str, Any], keys: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(item.get(key, default) for key, default in keys.items())


def _is_equal(desired: Any, live: Any, shape: str) -> bool:
    if isinstance(desired, bool) or isinstance(live, bool):
        return desired is live
    if desired == live:
        return True
    if not isinstance(desired, str | int | float) or not isinstance(live, str | int | float):
        return False
    if _INT_OR_STRING.search(shape):
        return str(desired) == str(live)
    return bool(_QUANTITY.search(shape)) and _is_same_quantity(desired, live)


def _is_same_quantity(desired: str | float, live: str | float) -> bool:
    try:
        return parse_quantity(desired) == parse_quantity(live)
    except ValueError:
        return False


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
