"""What the cluster holds, as far as it concerns us: the operator's only view of the world.

Watches, LISTs and the answers to our own writes all end here; a reconcile reads nothing
else. Each object is kept packed (without ``managedFields``), because thousands of gateways
have tens of thousands of objects, and each reader gets a copy of its own.

Versions only grow: an older copy of an object never replaces a newer one, and a deletion
leaves a tombstone so that a late answer cannot raise the dead. Resource versions compare as
numbers (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions).
"""

from __future__ import annotations

import marshal
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from igw_operator import conventions, kinds
from igw_operator.api.objects import Manifest, ObjectKey
from igw_operator.kinds import Resource
from igw_operator.world.fleet import Fleet
from igw_operator.world.foreign import ForeignFields, Shares, Tell, read_foreign_fields
from igw_operator.world.roster import Roster

_TOMBSTONES: Final = 10_000


@dataclass(frozen=True, slots=True, order=True)
class CacheKey:
    """Kind, namespace and name; a kind has one row in the table, so it names the API too."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class _Entry:
    version: int
    uid: str
    gateways: frozenset[ObjectKey]
    packed: bytes
    dictionary: bytes
    foreign: Shares

    def unpack(self) -> Manifest:
        raw = zlib.decompressobj(zdict=self.dictionary).decompress(self.packed)
        return dict(marshal.loads(raw))  # noqa: S302 - we packed it ourselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancies:
    """What a LIST showed and no watch had told."""

    appeared: int = 0
    changed: int = 0
    vanished: int = 0
    affected: frozenset[ObjectKey] = frozenset()


class Cache:
    """Objects by kind, namespace and name, and by the gateway that they belong to.

    ``tell_foreign`` is told how many fields of our children each other field manager sets.
    """

    def __init__(self, tell_foreign: Tell = lambda _kind, _manager, _count: None) -> None:
        self._entries: dict[str, dict[CacheKey, _Entry]] = defaultdict(dict)
        self._by_gateway: dict[ObjectKey, set[CacheKey]] = defaultdict(set)
        self._gateway_by_label: dict[ObjectKey, ObjectKey] = {}
        self.fleet = Fleet()
        self._foreign = ForeignFields(tell_foreign)
        self.roster = Roster()
        self._parents: dict[ObjectKey, frozenset[ObjectKey]] = {}
        self._tombstones: dict[CacheKey, int] = {}
        # Objects of a kind resemble each other: packed against the first one that was seen, a
        # child takes a quarter of the memory that it takes alone.
        self._dictionaries: dict[str, bytes] = {}

    def put(self, resource: Resource, manifest: Mapping[str, Any]) -> bool:
        """Keep the object if it is news; say whether it was."""
        key = key_of(resource, manifest)
        version = version_of(manifest)
        known = self._entries[resource.kind].get(key)
        if version <= max(known.version if known else 0, self._tombstones.get(key, 0)):
            return False
        if known:
            self._unlink(key, known)
        is_child = resource.kind in kinds.CHILD_BY_KIND
        foreign = read_foreign_fields(manifest) if is_child else {}
        raw = _serialise(manifest)
        dictionary = self._dictionaries.setdefault(resource.kind, raw)
        packer = zlib.compressobj(level=1, zdict=dictionary)
        packed = packer.compress(raw) + packer.flush()
        entry = _Entry(
            version=version,
            uid=manifest["metadata"].get("uid", ""),
            gateways=gateways_of(resource, manifest),
            packed=packed,
            dictionary=dictionary,
            foreign=self._foreign.take(resource.kind, foreign),
        )
        self._entries[resource.kind][key] = entry
        for gateway in entry.gateways:
            self._by_gateway[gateway].add(key)
        if resource is kinds.POD:
            self.roster.put(entry.gateways, manifest)
        if resource is kinds.GATEWAY:
            gateway = ObjectKey(key.namespace, key.name)
            self._gateway_by_label[label_key(gateway)] = gateway
            self.fleet.put(gateway, manifest)
            if parents := parents_of(manifest):
                self._parents[gateway] = parents
            else:
                self._parents.pop(gateway, None)
        return True

    def remove(self, resource: Resource, manifest: Mapping[str, Any]) -> bool:
        """Forget an object that was deleted (or left the selector), unless a newer one is known."""
        key = key_of(resource, manifest)
        return self._bury(key, version_of(manifest))

    def replacement(self, resource: Resource) -> Replacement:
        """Begin to make a kind what a LIST shows, page by page."""
        return Replacement(self, resource)

    def bury_unlisted(
        self, resource: Resource, listed: AbstractSet[CacheKey], list_version: int
    ) -> tuple[int, set[ObjectKey]]:
        """Forget what a LIST did not show; return how many, and the gateways that they concern."""
        # What is absent but newer than the list came after it.
        vanished = {
            key: self._concerns(key, entry)
            for key, entry in self._entries[resource.kind].items()
            if key not in listed and entry.version <= list_version
        }
        for key in vanished:
            self._bury(key, list_version)
        return len(vanished), set().union(*vanished.values())

    def concerned(self, key: CacheKey) -> frozenset[ObjectKey]:
        """The gateways, as labels name them, that an object concerns."""
        return self._concerns(key, self._entries[key.kind][key])

    def drop_kind(self, resource: Resource) -> None:
        """Forget every object of a kind whose API is gone."""
        for key, entry in self._entries.pop(resource.kind, {}).items():
            self._unlink(key, entry)

    def get(self, resource: Resource, key: ObjectKey) -> Manifest | None:
        """Return a copy of one object."""
        entry = self._entries[resource.kind].get(CacheKey(resource.kind, key.namespace, key.name))
        return entry.unpack() if entry else None

    def keys(self, resource: Resource) -> list[ObjectKey]:
        """Where the objects of a kind are."""
        return [ObjectKey(key.namespace, key.name) for key in self._entries[resource.kind]]

    def all(self, resource: Resource) -> list[Manifest]:
        """Return copies of every object of a kind; for the few kinds with few objects."""
        return [entry.unpack() for entry in self._entries[resource.kind].values()]

    def of_gateway(self, gateway: ObjectKey, known: Iterable[Manifest] = ()) -> list[Manifest]:
        """Return copies of a gateway's children, pods and replica sets, by kind and name.

        Of ``known``, copies from before, those are returned that are still the latest.
        """
        before = {(it["kind"], it["metadata"]["name"]): it for it in known}
        found: list[Manifest] = []
        for key in sorted(self._by_gateway.get(label_key(gateway), ())):
            entry = self._entries[key.kind][key]
            copy = before.get((key.kind, key.name))
            is_latest = copy is not None and version_of(copy) == entry.version
            found.append(copy if copy is not None and is_latest else entry.unpack())
        return found

    def gateways_named(self, labels: Iterable[ObjectKey]) -> list[ObjectKey]:
        """The gateways that exist among those that labels name."""
        return [
            self._gateway_by_label[label] for label in labels if label in self._gateway_by_label
        ]

    def gateways_of(self, resource: Resource, manifest: Mapping[str, Any]) -> list[ObjectKey]:
        """The gateways that exist and that an object concerns."""
        if resource is kinds.PARENT_GATEWAY:
            return self._gateways_through(key_of(resource, manifest))
        return self.gateways_named(gateways_of(resource, manifest))

    def count(self) -> int:
        """How many objects are kept."""
        return sum(len(entries) for entries in list(self._entries.values()))

    def _gateways_through(self, key: CacheKey) -> list[ObjectKey]:
        """The gateways that ask for a route through a Gateway of Gateway API."""
        parent = ObjectKey(key.namespace, key.name)
        return [gateway for gateway, parents in self._parents.items() if parent in parents]

    def _concerns(self, key: CacheKey, entry: _Entry) -> frozenset[ObjectKey]:
        """Like `gateways_of`, for an object that is kept, and as labels name them."""
        if key.kind == kinds.PARENT_GATEWAY.kind:
            return frozenset(label_key(gateway) for gateway in self._gateways_through(key))
        return entry.gateways

    def _bury(self, key: CacheKey, version: int) -> bool:
        known = self._entries[key.kind].get(key)
        if known is None or known.version > version:
            return False
        del self._entries[key.kind][key]
        self._unlink(key, known)
        if key.kind == kinds.GATEWAY.kind:
            gateway = ObjectKey(key.namespace, key.name)
            self._gateway_by_label.pop(label_key(gateway), None)
            self.fleet.remove(gateway)
            self._parents.pop(gateway, None)
        self._tombstones.pop(key, None)  # to the end: oldest first
        self._tombstones[key] = version
        while len(self._tombstones) > _TOMBSTONES:
            del self._tombstones[next(iter(self._tombstones))]
        return True

    def _unlink(self, key: CacheKey, entry: _Entry) -> None:
        self._foreign.give_back(key.kind, entry.foreign)
        for gateway in entry.gateways:
            if key.kind == kinds.POD.kind:
                self.roster.remove(gateway, key.name)
            siblings = self._by_gateway[gateway]
            siblings.discard(key)
            if not siblings:
                del self._by_gateway[gateway]


class Replacement:
    """A LIST on its way into the cache: no more than one page of it is held at a time."""

    def __init__(self, cache: Cache, resource: Resource) -> None:
        self._cache = cache
        self._resource = resource
        self._before = frozenset(cache.keys(resource))
        self._listed: set[CacheKey] = set()
        self._affected: set[ObjectKey] = set()
        self._appeared = self._changed = 0

    def add(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Take one page."""
        for manifest in items:
            key = key_of(self._resource, manifest)
            self._listed.add(key)
            if self._cache.put(self._resource, manifest):
                was_known = ObjectKey(key.namespace, key.name) in self._before
                self._appeared += not was_known
                self._changed += was_known
                self._affected |= self._cache.concerned(key)

    def finish(self, list_version: int) -> Discrepancies:
        """Forget what no page showed, unless it came after the LIST."""
        vanished, affected = self._cache.bury_unlisted(self._resource, self._listed, list_version)
        return Discrepancies(
            appeared=self._appeared,
            changed=self._changed,
            vanished=vanished,
            affected=frozenset(self._affected | affected),
        )


def key_of(resource: Resource, manifest: Mapping[str, Any]) -> CacheKey:
    """Where an object is kept."""
    metadata = manifest["metadata"]
    return CacheKey(resource.kind, metadata.get("namespace") or "", metadata["name"])


def version_of(manifest: Mapping[str, Any]) -> int:
    """The object's resource version as a number."""
    return int(manifest["metadata"].get("resourceVersion") or 0)


def label_key(gateway: ObjectKey) -> ObjectKey:
    """The gateway as its children's label names it (a label's value holds 63 characters)."""
    return ObjectKey(gateway.namespace, conventions.child_name(gateway.name))


def gateways_of(resource: Resource, manifest: Mapping[str, Any]) -> frozenset[ObjectKey]:
    """The gateways that an object concerns, by label and by owner, as `label_key` names them.

    Both, because either may have been stripped from a child that must be repaired.
    """
    if resource in kinds.OWN:
        return frozenset()
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace") or ""
    names = {
        conventions.child_name(owner["name"])
        for owner in metadata.get("ownerReferences") or ()
        if owner.get("kind") == conventions.GATEWAY_KIND
        and str(owner.get("apiVersion", "")).startswith(f"{conventions.GROUP}/")
    }
    if label := (metadata.get("labels") or {}).get(conventions.LABEL_GATEWAY):
        names.add(label)
    return frozenset(ObjectKey(namespace, name) for name in names)


def parents_of(manifest: Mapping[str, Any]) -> frozenset[ObjectKey]:
    """The Gateways that a gateway's route names; of a spec that nobody has parsed yet."""
    service = (manifest.get("spec") or {}).get("service") or {}
    references = (service.get("route") or {}).get("parentRefs") or ()
    own = manifest["metadata"].get("namespace") or ""
    return frozenset(ObjectKey(it.get("namespace") or own, it["name"]) for it in references)


def _serialise(manifest: Mapping[str, Any]) -> bytes:
    """The object without ``managedFields``; marshal is several times faster than JSON."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    return marshal.dumps({**manifest, "metadata": metadata})
