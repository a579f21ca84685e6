from typing import Any

from factories import RUNTIME_IMAGE
from igw_operator import conventions, kinds
from igw_operator.act.status import StatusWriter
from igw_operator.api.objects import ObjectKey
from igw_operator.control.runtimes import RuntimeReconciler
from igw_operator.metrics import Metrics
from igw_operator.world.cache import Cache
from operator_fakes import FakeApi, FakeClock


def a_runtime_at(api: FakeApi, name: str, *, is_default: bool) -> dict[str, Any]:
    """An InferenceRuntime that the API server has."""
    annotations = {conventions.ANNOTATION_DEFAULT_RUNTIME: "true"} if is_default else {}
    manifest = {
        "apiVersion": conventions.API_VERSION,
        "kind": conventions.RUNTIME_KIND,
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"image": RUNTIME_IMAGE},
    }
    return api.put(kinds.RUNTIME.path(name=name), manifest)


async def test_each_of_two_default_runtimes_says_so() -> None:
    """With the reason of its own that people look for; a third one is not concerned."""
    api, cache = FakeApi(), Cache()
    statuses = StatusWriter(api=api, remember=cache.put, metrics=Metrics())
    reconcile = RuntimeReconciler(cache=cache, statuses=statuses, now=FakeClock().now)
    for name, is_default in (("a", True), ("b", True), ("c", False)):
        cache.put(kinds.RUNTIME, a_runtime_at(api, name, is_default=is_default))
    reasons: dict[str, str] = {}
    for name in ("a", "b", "c"):
        await reconcile(ObjectKey("", name))
        status = api.objects[kinds.RUNTIME.path(name=name)]["status"]
        reasons[name] = status["conditions"][0]["reason"]
    assert reasons == {"a": "AmbiguousDefault", "b": "AmbiguousDefault", "c": "Accepted"}
