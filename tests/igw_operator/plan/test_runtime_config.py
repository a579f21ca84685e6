from __future__ import annotations

import json
import re
from typing import Any

import pytest

from factories import a_gateway
from igw_operator import conventions
from igw_operator.plan.runtime_config import build_settings, hash_live, hash_static
from igw_runtime.settings import MetricsSettings, parse_settings
from igw_runtime.telemetry.metrics import GRPC_SERVICE, INFERENCE_ENDPOINTS, Metrics
from igw_runtime.telemetry.names import OTHER
from plan_kit.children import build

JWT = {
    "issuer": "https://issuer.example",
    "audiences": ["photos"],
    "jwksUri": "https://issuer.example/keys",
}


def settings(**spec: Any) -> dict[str, Any]:
    """The settings of a gateway with these spec fields."""
    return build_settings(a_gateway(**spec))


def test_writes_exactly_the_keys_of_the_contract() -> None:
    """The whole document for a default gateway, key by key."""
    assert settings() == {
        "schemaVersion": 1,
        "gateway": {"namespace": "demo", "name": "photos"},
        "model": {
            "name": "resnet50",
            "version": "1",
            "uri": "",
            "sha256": "",
            "precision": "auto",
        },
        "server": {"port": 8080, "metricsPort": 9090},
        "serving": {
            "timeoutSeconds": 30,
            "maxQueue": 64,
            "maxBatch": 1,
            "drainSeconds": 10,
            "maxBodyBytes": 10_485_760,
            "maxPixels": 50_000_000,
        },
        "telemetry": {"otlpEndpoint": "http://photos-collector:4318"},
        "live": {
            "logging": {"level": "info"},
            "tracing": {"enabled": True, "samplingPercent": 100, "slowThresholdSeconds": 0.3},
            "metrics": {"latencyBucketsSeconds": [0.3], "maxPredictionClasses": 1000},
        },
    }


SPECS: dict[str, dict[str, Any]] = {
    "default": {},
    "volume": {"model": {"name": "m", "uri": "pvc://models/a"}},
    "fractions": {"serving": {"timeout": "1500ms", "drain": "0.5s", "maxBodyBytes": "1.5Mi"}},
    "external": {
        "observability": {"collector": {"mode": "External", "endpoint": "http://otel:4318"}}
    },
    "disabled": {"observability": {"collector": {"mode": "Disabled"}}},
    "grpc": {"serving": {"grpc": True}},
    "tokens": {"serving": {"auth": {"jwt": JWT}}},
    "encrypted": {"serving": {"tls": {"secretName": "photos-tls"}}},
    "exact": {"serving": {"exact": True, "maxBatch": "auto"}},
    "thrifty": {
        "observability": {
            "logging": {"samplingPercent": {"info": 0.5}, "maxBytesPerSecond": "64Ki"}
        }
    },
    "unlimited": {"observability": {"logging": {"maxBytesPerSecond": 0}}},
    "several": {"additionalModels": [{"name": "resnet50", "version": "2", "uri": "file:///m"}]},
    "precise": {"slo": {"latency": {"threshold": "1ms"}}},
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_writes_what_the_runtime_reads(spec: dict[str, Any]) -> None:
    """The runtime's own parser takes the file and sees the same live digest."""
    text = build(**spec)["ConfigMap", "photos-config"]["data"]["runtime.json"]
    loaded = parse_settings(text.encode())
    assert loaded.live_hash == hash_live(settings(**spec))
    assert loaded.unknown == (), "the runtime of this release knows every key"


def test_an_older_runtime_refuses_what_it_would_leave_out() -> None:
    """Who asks for tokens, TLS or exactness gets a version that only a runtime with it accepts."""
    protected = settings(serving={"auth": {"jwt": JWT}, "tls": {"secretName": "photos-tls"}})

    assert protected["schemaVersion"] == 2
    assert protected["auth"] == {"jwt": JWT}
    assert protected["tls"] == {
        "certificate": "/etc/igw-tls/tls.crt",
        "key": "/etc/igw-tls/tls.key",
    }
    assert settings()["schemaVersion"] == 1
    assert not {"auth", "tls"} & set(settings())
    exact = settings(serving={"exact": True})
    assert (exact["schemaVersion"], exact["serving"]["exact"]) == (2, True)
    several = settings(additionalModels=[{"name": "other"}])
    assert (several["schemaVersion"], len(several["additionalModels"])) == (2, 1)
    assert settings(serving={"maxBatch": "auto"})["serving"]["maxBatch"] == "auto"


def test_the_log_budget_is_live_and_only_written_where_it_was_chosen() -> None:
    """Neither does it restart a pod, nor does it stand in the files of those who said nothing."""
    logging = {"samplingPercent": {"info": 12.5, "debug": 0}, "maxBytesPerSecond": "1.5Ki"}
    chosen: dict[str, Any] = {"observability": {"logging": logging}}
    assert settings(**chosen)["live"]["logging"] == {
        "level": "info",
        "samplingPercent": {"debug": 0, "info": 12.5, "warning": 100},
        "maxBytesPerSecond": 1536,
    }
    assert hash_static(a_gateway(**chosen)) == hash_static(a_gateway())
    spelled = {"samplingPercent": {"info": 100}, "maxBytesPerSecond": "1024Ki"}
    assert settings(observability={"logging": spelled}) == settings()
    free = settings(observability={"logging": {"maxBytesPerSecond": 0}})
    assert free["live"]["logging"]["maxBytesPerSecond"] == 0


def test_objectives_count_what_infers_and_nothing_else() -> None:
    """The rules' selector takes each endpoint label of an inference, by HTTP and by gRPC."""
    selector = re.compile(conventions.ENDPOINT_PATTERN)
    assert all(selector.fullmatch(endpoint) for endpoint in INFERENCE_ENDPOINTS)
    others = ("/health", "/ready", OTHER, "/v2/models/{model}", f"/{GRPC_SERVICE}/ServerReady")
    assert not any(selector.fullmatch(endpoint) for endpoint in others)


def test_the_runtime_says_which_live_settings_it_follows() -> None:
    """By the metric and the label that the operator asks Prometheus for."""
    metrics = Metrics(MetricsSettings())
    metrics.show_live_hash("before")
    metrics.show_live_hash(hash_live(settings()))
    told = metrics.registry.restricted_registry([conventions.METRIC_LIVE_SETTINGS])
    samples = [sample for metric in told.collect() for sample in metric.samples]
    assert [(it.labels, it.value) for it in samples] == [({"hash": hash_live(settings())}, 1)]


def test_an_older_runtime_serves_what_a_newer_operator_writes() -> None:
    """It leaves out what it does not know, also where it stands among what it knows."""
    document = settings()
    document["serving"]["streaming"] = True
    document["live"]["audit"] = {"enabled": True}
    loaded = parse_settings(json.dumps(document).encode())
    assert [it.partition(":")[0] for it in loaded.unknown] == ["serving.streaming", "live.audit"]
    assert loaded.settings.serving.max_queue == document["serving"]["maxQueue"]
    assert loaded.live_hash == hash_live(document), "the operator sees its change arrive"


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        (None, ""),
        ("file:///models/x", "file:///models/x"),
        ("pvc://claim/a/b", "file:///mnt/models/a/b"),
        ("pvc://claim/", "file:///mnt/models"),
    ],
    ids=["in the image", "file", "path in a claim", "root of a claim"],
)
def test_says_where_the_model_lies_in_the_pod(uri: str | None, location: str) -> None:
    """The runtime only knows files; a claim is one mounted at a known place."""
    assert settings(model={"name": "m", "uri": uri})["model"]["uri"] == location


@pytest.mark.parametrize(
    ("observability", "endpoint", "percent", "enabled"),
    [
        ({}, "http://photos-collector:4318", 100, True),
        ({"tracing": {"enabled": False}}, "http://photos-collector:4318", 100, False),
        (
            {
                "collector": {"mode": "External", "endpoint": "http://o:4318"},
                "tracing": {"samplingPercent": 2.5},
            },
            "http://o:4318",
            2.5,
            True,
        ),
        ({"collector": {"mode": "Disabled"}}, "", 10, False),
    ],
    ids=["managed", "managed, off", "external", "disabled"],
)
def test_lets_the_right_side_sample(
    observability: dict[str, Any], endpoint: str, percent: float, enabled: bool
) -> None:
    """A managed collector judges whole traces and gets all; else the runtime samples."""
    document = settings(observability=observability)
    tracing = document["live"]["tracing"]
    assert document["telemetry"]["otlpEndpoint"] == endpoint
    assert (tracing["samplingPercent"], tracing["enabled"]) == (percent, enabled)


def test_calls_slow_what_the_user_calls_slow() -> None:
    """The SLO's threshold, unless tracing has one of its own."""
    assert settings()["live"]["tracing"]["slowThresholdSeconds"] == 0.3
    own = settings(observability={"tracing": {"slowThreshold": "2s"}})
    assert own["live"]["tracing"]["slowThresholdSeconds"] == 2


def test_has_a_bucket_at_the_threshold() -> None:
    """Without it the latency objective would have no data."""
    live = settings(slo={"latency": {"threshold": "750ms"}})["live"]
    assert live["metrics"]["latencyBucketsSeconds"] == [0.75]


def test_hashes_only_what_is_read_at_the_start() -> None:
    """The pods' hash is blind to live settings and sees all others."""
    assert hash_static(a_gateway()) == hash_static(a_gateway(slo={"latency": {"threshold": "1s"}}))
    assert hash_static(a_gateway()) != hash_static(a_gateway(serving={"maxQueue": 1}))


def test_is_readable_for_people() -> None:
    """The file is indented JSON that ends with a line's end."""
    text = build()["ConfigMap", "photos-config"]["data"]["runtime.json"]
    assert text.endswith("}\n")
    assert json.loads(text) == settings()
