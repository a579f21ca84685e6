"""The runtime's settings file: the contract between operator and runtime, as data.

Its schema is ``igw_runtime.settings``; neither package imports the other, tests on both sides
pin it. What stands under ``live`` is read again while the runtime runs; everything else is
``static`` and its hash rolls the pods. Three rules follow:

- whatever an SLO touches stands under ``live``: an SLO edit restarts no pod;
- a runtime that is older than the operator leaves out the keys that it does not know: one that
  must not be left out, such as one that demands a token, needs another ``schemaVersion``. That is
  static, so nothing under ``live`` may need one;
- a new static key may only be written where it differs from the runtime's own default, or an
  operator upgrade would restart every pod of the fleet. A new live key would be written to every
  ConfigMap, and warned of by every older runtime: it is left out at its default, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from igw_operator import conventions
from igw_operator.api.fields import parse_duration, parse_quantity
from igw_operator.api.gateway import GatewaySpec
from igw_operator.api.objects import Gateway, Manifest
from igw_operator.api.observability import CollectorMode, Logging, LogSampling
from igw_operator.conventions import COMPONENT_RUNTIME
from igw_operator.plan.hashing import build_digest
from igw_operator.plan.inputs import PlanInput
from igw_operator.plan.labels import build_metadata
from igw_operator.plan.places import Place, place_models


def build_settings(gateway: Gateway) -> dict[str, Any]:
    """The settings as a document."""
    return build_static_settings(gateway) | {"live": build_live_settings(gateway.spec)}


def build_static_settings(gateway: Gateway) -> dict[str, Any]:
    """The part that the runtime reads once, at its start."""
    spec = gateway.spec
    model, *others = map(_build_model, place_models(spec))
    guarded = _build_protection(spec) | ({"additionalModels": others} if others else {})
    return {
        # An older runtime would leave out what it does not know: it would serve everybody, answer
        # otherwise than was asked for, or not at all for some models.
        "schemaVersion": 2 if guarded or spec.serving.exact else 1,
        "gateway": {"namespace": gateway.namespace, "name": gateway.name},
        "model": model,
        "server": {
            "port": conventions.PORT_HTTP,
            "metricsPort": conventions.PORT_METRICS,
        }
        | ({"grpcPort": conventions.PORT_GRPC} if spec.serving.grpc else {}),
        "serving": {
            "timeoutSeconds": _number(parse_duration(spec.serving.timeout)),
            "maxQueue": spec.serving.max_queue,
            "maxBatch": spec.serving.max_batch,
            "drainSeconds": _number(parse_duration(spec.serving.drain)),
            "maxBodyBytes": int(parse_quantity(spec.serving.max_body_bytes)),
            "maxPixels": spec.serving.max_pixels,
        }
        | ({"exact": True} if spec.serving.exact else {}),
        "telemetry": {"otlpEndpoint": _locate_collector(gateway)},
    } | guarded


def _build_model(place: Place) -> dict[str, Any]:
    model = place.model
    return {
        "name": model.name,
        "version": model.version,
        "uri": place.uri,
        "sha256": model.sha256 or "",
        "precision": model.precision,
    }


def _build_protection(spec: GatewaySpec) -> dict[str, Any]:
    """Tokens and TLS; nothing where neither is asked for."""
    protection: dict[str, Any] = {}
    if spec.serving.auth is not None:
        jwt = spec.serving.auth.jwt
        protection["auth"] = {
            "jwt": {
                "issuer": jwt.issuer,
                "audiences": list(jwt.audiences),
                "jwksUri": jwt.jwks_uri,
            }
        }
    if spec.serving.tls is not None:
        protection["tls"] = {
            "certificate": f"{conventions.TLS_DIR}/tls.crt",
            "key": f"{conventions.TLS_DIR}/tls.key",
        }
    return protection


def build_live_settings(spec: GatewaySpec) -> dict[str, Any]:
    """The part that the runtime follows while it runs."""
    tracing = spec.observability.tracing
    mode = spec.observability.collector.mode
    threshold = spec.slo.latency.threshold_seconds
    slow = parse_duration(tracing.slow_threshold) if tracing.slow_threshold else threshold
    # A collector of ours decides by the whole trace, so it has to see all of them.
    percent = 100.0 if mode.is_ours else tracing.sampling_percent
    return {
        "logging": _build_logging(spec.observability.logging),
        "tracing": {
            # Not in the endpoint: that one is static, and switching traces off restarts nothing.
            "enabled": tracing.enabled and mode is not CollectorMode.DISABLED,
            "samplingPercent": _number(Decimal(str(percent))),
            "slowThresholdSeconds": _number(slow),
        },
        "metrics": {
            # Without a bucket at the threshold, the latency objective has no data.
            "latencyBucketsSeconds": [_number(threshold)],
            "maxPredictionClasses": spec.observability.metrics.max_prediction_classes,
        },
    }


def _build_logging(logging: Logging) -> dict[str, Any]:
    document: dict[str, Any] = {"level": logging.level}
    sampling = logging.sampling_percent
    if sampling != LogSampling():
        document["samplingPercent"] = {
            level: _number(Decimal(str(percent))) for level, percent in sampling
        }
    limit = parse_quantity(logging.max_bytes_per_second)
    if limit != parse_quantity(Logging().max_bytes_per_second):
        document["maxBytesPerSecond"] = int(limit)
    return document


def build_runtime_config(inputs: PlanInput) -> Manifest:
    """The ConfigMap that is mounted into the pods."""
    text = json.dumps(build_settings(inputs.gateway), indent=2) + "\n"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": build_metadata(inputs.gateway, COMPONENT_RUNTIME, "config"),
        "data": {conventions.CONFIG_FILE: text},
    }


def hash_static(gateway: Gateway) -> str:
    """Digest of the static part; on the pod template, a change of it rolls the pods."""
    return build_digest(build_static_settings(gateway))


def hash_live(settings: Mapping[str, Any]) -> str:
    """Digest of the live part, as the runtime reports it once it follows it."""
    return build_digest(settings["live"])


def _locate_collector(gateway: Gateway) -> str:
    collector = gateway.spec.observability.collector
    if collector.mode.is_ours:
        return f"http://{gateway.child_name('collector')}:{conventions.PORT_OTLP_HTTP}"
    # The API refuses an endpoint in mode Disabled and its absence in mode External.
    return collector.endpoint or ""


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
