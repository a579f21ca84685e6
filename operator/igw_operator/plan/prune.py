"""Removal of what says nothing, so that an apply which changes nothing writes nothing.

``subjects: []`` and its like bump the resourceVersion on each apply
(github.com/kubernetes/kubernetes/issues/131175). Yet some empties speak: an empty selector
matches everything where none matches nothing, and ``- {}`` in a policy's ingress allows all.
"""

from __future__ import annotations

from typing import Any, Final

_SPEAKING_EMPTIES: Final = frozenset(
    {"emptyDir", "labelSelector", "namespaceSelector", "podSelector"}
)
_NESTING: Final = (dict, list, tuple)
# Another program's own document: there, ``batch: {}`` declares a part.
_DOCUMENTS: Final = frozenset({"config"})


def prune(value: Any) -> Any:
    """A copy without None, ``{}`` and ``[]`` as values of fields."""
    if isinstance(value, dict):
        pruned: dict[str, Any] = {}
        for key, item in value.items():
            if type(item) is str:  # nearly all are, and each says something
                pruned[key] = item
                continue
            is_ours = isinstance(item, _NESTING) and key not in _DOCUMENTS
            kept = prune(item) if is_ours else item
            if not _is_silent(key, kept):
                pruned[key] = kept
        return pruned
    if isinstance(value, list | tuple):
        # Elements stay, whatever they are: their number and order mean something.
        return [prune(item) if isinstance(item, _NESTING) else item for item in value]
    return value


def _is_silent(key: str, value: Any) -> bool:
    if value:
        return False
    if value is None or value == []:
        return True
    return value == {} and key not in _SPEAKING_EMPTIES
