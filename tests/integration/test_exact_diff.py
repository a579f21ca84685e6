"""What the builders want is what the API server keeps: the difference after an apply is empty.

Defaults and normal forms that the API server adds must not look like drift, or the operator
would write for ever. Generated specs, every child, a real API server.
"""

from __future__ import annotations

import random
import time
from functools import partial
from typing import Any

import pytest

from igw_operator import kinds
from igw_operator.api.objects import parse_gateway, parse_runtime
from igw_operator.plan.children import build_children
from igw_operator.plan.diff import diff, stamp
from igw_operator.plan.hold import hold_templates
from igw_operator.plan.inputs import Capabilities, PlanInput
from igw_operator.plan.reference import digest_templates
from igw_operator.plan.revision import revision_of
from integration.cluster import wait_for
from integration.conftest import Place

_COUNT = 24


@pytest.mark.timeout(240)
def test_nothing_differs_after_an_apply(place: Place) -> None:
    """For generated specs: every child that was built equals, by our diff, the one that is live."""
    names = [f"g{number}" for number in range(_COUNT)]
    for number, name in enumerate(names):
        chance = random.Random(number)  # noqa: S311 - a seed, no secret
        place.apply(name, **generate_spec(chance))
    for name in names:
        wait_for(partial(place.condition, "Ready", name), f"{name} to be judged")
    place.cluster.wait_settled(place.namespace, quiet_seconds=3, timeout_seconds=60)
    runtime = parse_runtime(place.cluster.must_get(kinds.RUNTIME.kind, "", "default"))
    live = place.children()
    for name in names:
        gateway = parse_gateway(place.gateway(name))
        inputs = PlanInput(
            gateway=gateway,
            runtime=runtime,
            capabilities=Capabilities(
                service_monitors=True, prometheus_rules=True, http_routes=True, otel_collectors=True
            ),
        )
        children = hold_templates(
            build_children(inputs),
            live,
            gateway,
            runtime.name,
            revision_of(runtime.spec, digest_templates()),
            is_edited=False,
        ).children
        for child in children:
            key = child["kind"], child["metadata"]["name"]
            difference = diff(stamp(child, gateway), live.get(key), gateway.uid)
            assert not difference, f"{name} {key}: {difference}"
    with place.recording() as writes:
        patch = {"metadata": {"annotations": {"touched": "yes"}}}
        for name in names:
            place.cluster.patch(kinds.GATEWAY.kind, place.namespace, name, patch)
        time.sleep(3)
    assert [it for it in writes if it.subresource != "status"] == []


def generate_spec(chance: random.Random) -> dict[str, Any]:
    """A valid spec: each part is there or not, with one of its shapes."""
    spec: dict[str, Any] = {"model": chance.choice(_MODELS)}
    for part in _PARTS:
        if chance.random() < 0.6:
            spec |= chance.choice(part)
    return spec


_MODELS = (
    {"name": "resnet50"},
    {"name": "efficientnet_lite0", "version": "2.1", "precision": "int8"},
    {"name": "mine", "uri": "pvc://models/mine", "sha256": "0" * 64},
    {"name": "mine", "uri": "file:///models/mine"},
    {"name": "mine", "uri": "https://example.org/mine.tar"},
    {
        "name": "mine",
        "uri": "s3://models/mine.tar",
        "endpoint": "http://minio:9000",
        "credentials": {"secretName": "reader"},
    },
)
_PARTS: tuple[tuple[dict[str, Any], ...], ...] = (
    (
        {"additionalModels": [{"name": "resnet50", "version": "9"}]},
        {
            "additionalModels": [
                {"name": "mine", "version": "2", "uri": "pvc://models/mine-2"},
                {"name": "other", "uri": "pvc://others/x", "precision": "bf16"},
                {"name": "far", "uri": "gs://bucket/far.tar", "sha256": "0" * 64},
            ]
        },
    ),
    (
        {"replicas": 0},
        {"replicas": 3},
        {"scaling": {"minReplicas": 1, "maxReplicas": 4, "memoryPercent": 0}},
        {"scaling": {"behavior": {"scaleDown": {"percent": 10, "period": "90s"}}}},
    ),
    (
        {"serving": {"timeout": "1m30s", "drain": "500ms", "maxBatch": 16}},
        {"serving": {"maxBodyBytes": "1048576", "maxQueue": 1}},
        {"serving": {"grpc": True, "tls": {"secretName": "certificate"}}},
        {
            "serving": {
                "auth": {
                    "jwt": {
                        "issuer": "https://issuer.example.org",
                        "audiences": ["photos", "vision"],
                        "jwksUri": "http://issuer.auth.svc:8180/keys",
                    }
                },
                "tls": {"secretName": "certificate"},
            }
        },
        {"serving": {"maxBatch": "auto", "exact": True}},
    ),
    (
        {"resources": {"requests": {"cpu": "1500m", "memory": "1024Mi"}, "limits": {}}},
        {"resources": {"requests": {"cpu": 1}, "limits": {"cpu": "2.0", "memory": "4096Mi"}}},
        {"resources": {"requests": {"cpu": "0.1"}, "limits": {"example.com/gpu": 1}}},
    ),
    (
        {
            "scheduling": {
                "nodeSelector": {"disk": "ssd"},
                "tolerations": [{"key": "gpu", "operator": "Exists"}, {"operator": "Exists"}],
                "spot": "Require",
            }
        },
        {"scheduling": {"spread": False, "spot": "Prefer"}},
        {
            "scheduling": {
                "affinity": {
                    "nodeAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "weight": 1,
                                "preference": {
                                    "matchExpressions": [{"key": "zone", "operator": "Exists"}]
                                },
                            }
                        ]
                    }
                }
            }
        },
    ),
    (
        {"service": {"type": "NodePort"}},
        {
            "service": {
                "type": "LoadBalancer",
                "annotations": {"cloud/internal": "true", "empty": ""},
            }
        },
        {
            "service": {
                "route": {
                    "parentRefs": [{"name": "public", "namespace": "infra"}, {"name": "own"}],
                    "hostnames": ["photos.example.com", "*.example.com"],
                }
            }
        },
        {
            "service": {
                "route": {
                    "parentRefs": [{"name": "public", "sectionName": name} for name in "ab"],
                    "pathPrefix": "/a/b.c",
                }
            }
        },
    ),
    (
        {"slo": {"window": "7d", "availability": {"objective": 99.9}}},
        {
            "slo": {
                "latency": {"threshold": "1s", "objective": 99.5},
                "alerting": {"enabled": False},
            }
        },
        {"slo": {"alerting": {"labels": {"team": "vision"}, "annotations": {"note": "ü ✓"}}}},
    ),
    (
        {"observability": {"metrics": {"enabled": False}}},
        {
            "observability": {
                "logging": {
                    "level": "debug",
                    "samplingPercent": {"debug": 0.1, "info": 33},
                    "maxBytesPerSecond": 65536,
                }
            }
        },
        {"observability": {"collector": {"mode": "Disabled"}}},
        {
            "observability": {
                "collector": {"mode": "OpenTelemetryCollector"},
                "tracing": {"endpoint": "https://tempo.tracing:4317", "samplingPercent": 12.5},
            }
        },
        {
            "observability": {
                "collector": {"mode": "External", "endpoint": "http://otel.monitoring:4318"},
                "tracing": {"samplingPercent": 0.5},
            }
        },
        {
            "observability": {
                "metrics": {"labels": {"release": "prometheus"}},
                "tracing": {"endpoint": "tempo.tracing:4317", "slowThreshold": "2s"},
            }
        },
    ),
    (
        {"networkPolicy": {"enabled": False}},
        {"networkPolicy": {"allowFrom": [{"namespaceSelector": {}}]}},
        {
            "networkPolicy": {
                "allowFrom": [
                    {"podSelector": {"matchLabels": {"app": "web"}}},
                    {"ipBlock": {"cidr": "10.0.0.0/8"}},
                ]
            }
        },
    ),
)
