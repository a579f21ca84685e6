import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from igw_runtime.errors import InvalidSettingsError
from igw_runtime.settings import (
    hash_live,
    load_settings,
    parse_settings,
    read_environment,
)

JWT = {"issuer": "https://i", "audiences": ["a"], "jwksUri": "https://i/keys"}
MINIMAL: dict[str, Any] = {"schemaVersion": 1, "model": {"name": "resnet50"}}


def encode(**changes: Any) -> bytes:
    """Return a settings file with these sections."""
    return json.dumps(MINIMAL | changes).encode()


def test_minimal_file_gets_every_default() -> None:
    """Two keys are enough to serve."""
    settings = parse_settings(encode()).settings

    assert (settings.server.port, settings.server.metrics_port) == (8080, 9090)
    assert (
        settings.serving.timeout_seconds,
        settings.serving.max_queue,
        settings.serving.max_batch,
        settings.serving.drain_seconds,
    ) == (30.0, 64, 1, 10.0)
    assert settings.live.metrics.latency_buckets_seconds == [0.3]
    assert not settings.telemetry.otlp_endpoint


def test_the_operators_file_is_understood() -> None:
    """The contract with the operator parses field by field."""
    content = {
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
            "timeoutSeconds": 30.0,
            "maxQueue": 64,
            "maxBatch": 1,
            "drainSeconds": 10.0,
            "maxBodyBytes": 10485760,
            "maxPixels": 50000000,
        },
        "telemetry": {"otlpEndpoint": "http://photos-collector:4318"},
        "live": {
            "logging": {"level": "info"},
            "tracing": {"enabled": True, "samplingPercent": 10.0, "slowThresholdSeconds": 0.3},
            "metrics": {"latencyBucketsSeconds": [0.3], "maxPredictionClasses": 1000},
        },
    }

    settings = parse_settings(json.dumps(content).encode()).settings

    assert settings.gateway.name == "photos"
    assert settings.live.tracing.sampling_percent == 10.0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {"serving": {"maxQueu": 1, "maxBatch": 0}},
            'serving.maxBatch: should be a whole number from 1 to 64, or "auto", got 0',
            id="a wrong value beside a misspelt key",
        ),
        *(
            pytest.param(
                {"serving": {"maxBatch": value}},
                'serving.maxBatch: should be a whole number from 1 to 64, or "auto", got ',
                id=f"{value} as size of batches",
            )
            for value in (65, 1.0, True, "many", None)
        ),
        pytest.param(
            {"live": {"logging": {"level": "loud"}}},
            "live.logging.level: should be 'debug', 'info', 'warning' or 'error', got \"loud\"",
            id="a value out of a closed set",
        ),
        pytest.param(
            {"serving": {"maxQueue": -1}},
            "serving.maxQueue: should be greater than or equal to 1, got -1",
            id="a number out of range",
        ),
        pytest.param(
            {"serving": {"maxQueue": "64"}},
            "serving.maxQueue: should be a valid integer",
            id="a number in quotes",
        ),
        pytest.param(
            {"live": {"metrics": {"latencyBucketsSeconds": [0]}}},
            "live.metrics.latencyBucketsSeconds.0: should be greater than 0",
            id="an element of a list",
        ),
        pytest.param({"schemaVersion": 3}, "schemaVersion: should be 1 or 2", id="a newer schema"),
        pytest.param(
            {"auth": {"jwt": JWT}}, "auth: needs schemaVersion 2", id="a token in version 1"
        ),
        pytest.param(
            {"tls": {"certificate": "/c", "key": "/k"}, "novelty": 1},
            "tls: needs schemaVersion 2",
            id="TLS in version 1, beside an unknown key",
        ),
        pytest.param(
            {"schemaVersion": 2, "tls": {"certificate": "/c"}},
            "tls.key: required key is missing",
            id="half of a pair",
        ),
        pytest.param(
            {"schemaVersion": 2, "auth": {"jwt": JWT | {"audiences": []}}},
            "auth.jwt.audiences: List should have at least 1 item",
            id="tokens for nobody",
        ),
        pytest.param(
            {"schemaVersion": 2, "auth": {"jwt": JWT | {"jwksUri": "file:///etc/passwd"}}},
            "auth.jwt.jwksUri: String should match",
            id="keys in a file",
        ),
        pytest.param(
            {"additionalModels": [{"name": "m"}]},
            "additionalModels: needs schemaVersion 2, which an older runtime refuses",
            id="more models than an older runtime would serve",
        ),
        pytest.param(
            {"schemaVersion": 2, "additionalModels": [{"name": "m"}, {"name": "resnet50"}]},
            "additionalModels.1: version '' of 'resnet50' is already served",
            id="one model twice",
        ),
        pytest.param(
            {"schemaVersion": 2, "additionalModels": [{"name": "m", "uri": "s3://b/m"}]},
            "additionalModels.0.uri: unsupported model uri",
            id="a mistake in an additional model",
        ),
        pytest.param(
            {"schemaVersion": 2, "additionalModels": [{"name": f"m{n}"} for n in range(16)]},
            "additionalModels: List should have at most 15 items",
            id="more models than there may be",
        ),
        pytest.param({"model": {}}, "model.name: required key is missing", id="no model name"),
        pytest.param(
            {"model": {"name": "../etc"}}, "model.name: String should match", id="a path as name"
        ),
        pytest.param(
            {"model": {"name": "m", "uri": "s3://bucket/m"}},
            'model.uri: unsupported model uri; supported: "" (a model built into the image',
            id="a scheme that is not supported",
        ),
        pytest.param(
            {"model": {"name": "m", "uri": "file://relative"}},
            "model.uri: unsupported model uri",
            id="a file uri without an absolute path",
        ),
        pytest.param(
            {"server": {"port": 9090}}, "server.metricsPort: must differ", id="ports that clash"
        ),
        pytest.param(
            {"server": {"grpcPort": 8080}}, "server.grpcPort: must differ", id="gRPC where HTTP is"
        ),
        pytest.param(
            {"server": {"grpcPort": 9090}},
            "server.grpcPort: must differ",
            id="gRPC where the metrics are",
        ),
        pytest.param(
            {"telemetry": {"otlpEndpoint": "collector:4317"}},
            "telemetry.otlpEndpoint: String should match",
            id="an endpoint without a scheme",
        ),
    ],
)
def test_mistakes_are_explained_by_key(changes: dict[str, Any], expected: str) -> None:
    """An error names the key's path and what would be right there, in one line."""
    with pytest.raises(InvalidSettingsError) as caught:
        parse_settings(encode(**changes))

    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"serving": {"maxQueu": 1, "maxBatch": 4}},
            ["serving.maxQueu: unknown key; allowed here: bodyTimeoutSeconds, drainSeconds"],
        ),
        (
            {"novelty": {"issuer": "x"}},
            ["novelty: unknown key; allowed here: additionalModels"],
        ),
        (
            {"schemaVersion": 2, "auth": {"jwt": JWT | {"algorithm": "none"}}},
            ["auth.jwt.algorithm: unknown key; allowed here: audiences, issuer, jwksUri"],
        ),
        (
            {"schemaVersion": 2, "additionalModels": [{"name": "m", "weight": 5}]},
            ["additionalModels.0.weight: unknown key; allowed here: engine, name, precision"],
        ),
        (
            {"serving": {"maxBatch": 4, "streaming": True}, "live": {"logging": {"format": "x"}}},
            ["serving.streaming: unknown key", "live.logging.format: unknown key"],
        ),
        ({}, []),
    ],
    ids=["a misspelt key", "at the top", "deep down", "in a list", "at several places", "none"],
)
def test_keys_of_a_newer_operator_are_left_out_and_named(
    changes: dict[str, Any], expected: list[str]
) -> None:
    """Everything that is known still counts, and the digest is of the file as it is written."""
    loaded = parse_settings(encode(**changes))

    assert len(loaded.unknown) == len(expected)
    for explanation, start in zip(loaded.unknown, expected, strict=True):
        assert explanation.startswith(start)
    assert loaded.settings.serving.max_batch == changes.get("serving", {}).get("maxBatch", 1)
    assert loaded.live_hash == hash_live(changes.get("live", {}))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_not_a_json_object_is_refused(content: bytes) -> None:
    """Garbage is an InvalidSettings, never a traceback."""
    with pytest.raises(InvalidSettingsError):
        parse_settings(content)


def test_missing_file_is_explained(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(InvalidSettingsError, match=r"cannot read .*absent\.json"):
        load_settings(tmp_path / "absent.json")


def test_live_hash_is_of_the_object_as_written() -> None:
    """The operator can compute the same digest from what it wrote, defaults not filled in."""
    live = {"tracing": {"samplingPercent": 5.0}, "logging": {"level": "debug"}}

    assert hash_live(live) == parse_settings(encode(live=live)).live_hash
    canonical = b'{"logging":{"level":"debug"},"tracing":{"samplingPercent":5.0}}'
    assert hashlib.sha256(canonical).hexdigest()[:16] == hash_live(live)
    assert hashlib.sha256(b"{}").hexdigest()[:16] == parse_settings(encode()).live_hash


def test_environment_has_defaults_for_everything() -> None:
    """Nothing but the settings file must be given."""
    environment = read_environment({})

    assert environment.config_path == Path("/etc/igw/runtime.json")
    assert environment.models_root == Path("/models")
    assert environment.termination_log == Path("/dev/termination-log")
