"""Gateways that must be refused, and the words that the refusal must hold.

One table, two judges: the parser (``tests/igw_operator/api``) and the API server with the
shipped CRD (``tests/integration``). Each must name the field and say what to write.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BadGateway:
    """One bad spec: what it says, the field at fault, and a piece of the message."""

    sentence: str
    path: str
    says: str
    spec: dict[str, Any] = field(default_factory=dict)
    name: str = "photos"


def _slo(**slo: Any) -> dict[str, Any]:
    return {"slo": slo}


def _logging(**logging: Any) -> dict[str, Any]:
    return {"observability": {"logging": logging}}


def _route(**route: Any) -> dict[str, Any]:
    return {"service": {"route": {"parentRefs": [{"name": "public"}]} | route}}


def _jwt(**jwt: Any) -> dict[str, Any]:
    good = {"issuer": "https://i.example", "audiences": ["a"], "jwksUri": "https://i.example/keys"}
    return {"serving": {"auth": {"jwt": good | jwt}}}


BAD_GATEWAYS = (
    BadGateway(
        "an objective of 100 leaves no budget",
        "spec.slo.availability.objective",
        "at most 99.999",
        _slo(availability={"objective": 100}),
    ),
    BadGateway(
        "an objective with too many nines",
        "spec.slo.latency.objective",
        "at most 99.999",
        _slo(latency={"objective": 99.99999}),
    ),
    BadGateway(
        "an objective that is a word",
        "spec.slo.availability.objective",
        "number",
        _slo(availability={"objective": "abc"}),
    ),
    BadGateway(
        "an objective so low that no alert could fire",
        "spec.slo",
        "availability.objective is so low",
        _slo(availability={"objective": 90}),
    ),
    BadGateway(
        "a latency objective so low that no alert could fire",
        "spec.slo",
        "latency.objective is so low",
        _slo(latency={"objective": 93}),
    ),
    BadGateway(
        "an objective too low for the alerts of a week",
        "spec.slo",
        "availability.objective is so low",
        _slo(window="7d", availability={"objective": 92.5}),
    ),
    BadGateway(
        "a latency objective too low for the alerts of a week",
        "spec.slo",
        "latency.objective is so low",
        _slo(window="7d", latency={"objective": 92.5}),
    ),
    BadGateway(
        "a threshold that no answer can exceed",
        "spec",
        "slo.latency.threshold must be less than serving.timeout",
        {"serving": {"timeout": "1s"}, **_slo(latency={"threshold": "1s"})},
    ),
    BadGateway(
        "a timeout below the threshold that is set by default",
        "spec",
        "slo.latency.threshold must be less than serving.timeout",
        {"serving": {"timeout": "200ms"}},
    ),
    BadGateway(
        "a price of nothing",
        "spec.cost.perReplicaHour",
        "must be a price above 0",
        {"cost": {"perReplicaHour": 0}},
    ),
    BadGateway(
        "a price that is a text",
        "spec.cost.perReplicaHour",
        "number",
        {"cost": {"perReplicaHour": "0.38 EUR"}},
    ),
    BadGateway(
        "a cost without a price", "spec.cost", "perReplicaHour", {"cost": {"currency": "EUR"}}
    ),
    BadGateway(
        "a threshold without a unit",
        "spec.slo.latency.threshold",
        "with a unit",
        _slo(latency={"threshold": "300"}),
    ),
    BadGateway(
        "a threshold that is a number",
        "spec.slo.latency.threshold",
        "string",
        _slo(latency={"threshold": 300}),
    ),
    BadGateway(
        "a threshold of nothing",
        "spec.slo.latency.threshold",
        "from 1ms to 60s",
        _slo(latency={"threshold": "0s"}),
    ),
    BadGateway("a window that is not offered", "spec.slo.window", "30d", _slo(window="31d")),
    BadGateway(
        "fewest replicas above most",
        "spec.scaling",
        "minReplicas must not be greater than maxReplicas",
        {"scaling": {"minReplicas": 5, "maxReplicas": 3}},
    ),
    BadGateway(
        "replicas and scaling at once",
        "spec",
        "not both",
        {"replicas": 2, "scaling": {"minReplicas": 5}},
    ),
    BadGateway(
        "scaling on nothing that is always there",
        "spec.scaling",
        "needs cpuPercent or memoryPercent",
        {"scaling": {"cpuPercent": 0, "memoryPercent": 0}},
    ),
    BadGateway(
        "a quantity with an unknown unit",
        "spec.resources.requests",
        "2x",
        {"resources": {"requests": {"cpu": "2x"}}},
    ),
    BadGateway(
        "requests above limits",
        "spec.resources",
        "requests must not be greater than limits",
        {"resources": {"requests": {"cpu": "3"}, "limits": {"cpu": "2500m"}}},
    ),
    BadGateway(
        "a version that is there twice",
        "spec",
        "model and additionalModels: each needs a name and version of its own",
        {"additionalModels": [{"name": "scenes"}, {"name": "scenes", "version": "1"}]},
    ),
    BadGateway(
        "an additional model that is the first one",
        "spec",
        "model and additionalModels: each needs a name and version of its own",
        {"additionalModels": [{"name": "resnet50"}]},
    ),
    BadGateway(
        "an additional model from nowhere",
        "spec.additionalModels[0].uri",
        "must be pvc://CLAIM/PATH",
        {"additionalModels": [{"name": "scenes", "uri": "ftp://host/scenes"}]},
    ),
    BadGateway(
        "more models than one process may serve",
        "spec.additionalModels",
        "15",
        {"additionalModels": [{"name": f"m{number}"} for number in range(16)]},
    ),
    BadGateway(
        "a batch of nothing",
        "spec.serving.maxBatch",
        "must be a whole number from 1 to 64, or auto",
        {"serving": {"maxBatch": 0}},
    ),
    BadGateway(
        "a batch by another word",
        "spec.serving.maxBatch",
        "must be a whole number from 1 to 64, or auto",
        {"serving": {"maxBatch": "Auto"}},
    ),
    BadGateway(
        "a batch in quotes",
        "spec.serving.maxBatch",
        "must be a whole number from 1 to 64, or auto",
        {"serving": {"maxBatch": "8"}},
    ),
    BadGateway(
        "more than all lines of a level",
        "spec.observability.logging.samplingPercent.info",
        "less than or equal to 100",
        _logging(samplingPercent={"info": 101}),
    ),
    BadGateway(
        "a share of the lines that are never dropped",
        "spec.observability.logging.samplingPercent",
        "error",
        _logging(samplingPercent={"error": 50}),
    ),
    BadGateway(
        "so few bytes that a line may not fit",
        "spec.observability.logging.maxBytesPerSecond",
        "must be 0, or a quantity from 1Ki to 1Gi",
        _logging(maxBytesPerSecond="100m"),
    ),
    BadGateway(
        "a limit below nothing",
        "spec.observability.logging.maxBytesPerSecond",
        "must be 0, or a quantity from 1Ki to 1Gi",
        _logging(maxBytesPerSecond=-1),
    ),
    BadGateway("a field that does not exist", "spec", "nonsense", {"nonsense": 1}),
    BadGateway(
        "a model's name with a blank", "spec.model.name", "lower-case", {"model": {"name": "a b"}}
    ),
    BadGateway(
        "a digest of nothing",
        "spec.model",
        "set uri too",
        {"model": {"name": "resnet50", "sha256": "0" * 64}},
    ),
    BadGateway(
        "a digest that is none",
        "spec.model.sha256",
        "64 lower-case hexadecimal digits",
        {"model": {"name": "resnet50", "uri": "file:///models/x", "sha256": "abc"}},
    ),
    BadGateway(
        "a scheme that is not supported",
        "spec.model.uri",
        "pvc://CLAIM/PATH",
        {"model": {"name": "resnet50", "uri": "ftp://example.org/x"}},
    ),
    BadGateway(
        "a folder of a bucket",
        "spec.model.uri",
        "one archive",
        {"model": {"name": "resnet50", "uri": "s3://bucket/folder/"}},
    ),
    BadGateway(
        "a password in an address",
        "spec.model.uri",
        "https://HOST/PATH",
        {"model": {"name": "resnet50", "uri": "https://me:secret@example.org/x"}},
    ),
    BadGateway(
        "a model without TLS or digest",
        "spec.model",
        "without TLS",
        {"model": {"name": "resnet50", "uri": "http://example.org/x"}},
    ),
    BadGateway(
        "credentials that TLS does not hide",
        "spec.model",
        "credentials are for",
        {
            "model": {
                "name": "resnet50",
                "uri": "http://example.org/x",
                "sha256": "0" * 64,
                "credentials": {"secretName": "s"},
            }
        },
    ),
    BadGateway(
        "credentials for the image's own model",
        "spec.model",
        "credentials are for",
        {"model": {"name": "resnet50", "credentials": {"secretName": "s"}}},
    ),
    BadGateway(
        "a store for what is not in one",
        "spec.model",
        "endpoint is the address",
        {"model": {"name": "r", "uri": "gs://b/k", "endpoint": "http://minio:9000"}},
    ),
    BadGateway(
        "a store's address with a path",
        "spec.model.endpoint",
        "must be http(s)://HOST[:PORT]",
        {"model": {"name": "r", "uri": "s3://b/k", "endpoint": "http://minio/path"}},
    ),
    BadGateway(
        "an external collector without an address",
        "spec.observability.collector",
        "needs endpoint",
        {"observability": {"collector": {"mode": "External"}}},
    ),
    BadGateway(
        "a Gateway that is named twice",
        "spec.service.route.parentRefs",
        "name each Gateway once",
        _route(parentRefs=[{"name": "public"}, {"name": "public", "sectionName": "https"}]),
    ),
    BadGateway(
        "a listener that is named twice",
        "spec.service.route.parentRefs",
        "name each Gateway once",
        _route(parentRefs=[{"name": "public", "sectionName": "https"}] * 2),
    ),
    BadGateway(
        "a route through nothing", "spec.service.route.parentRefs", "1", _route(parentRefs=[])
    ),
    BadGateway(
        "a host name with a scheme",
        "spec.service.route.hostnames",
        "must be a host name",
        _route(hostnames=["https://photos.example.com"]),
    ),
    BadGateway(
        "a path that leads out of itself",
        "spec.service.route.pathPrefix",
        "without a final /",
        _route(pathPrefix="/photos/../other"),
    ),
    BadGateway(
        "keys that anybody on the way could replace",
        "spec.serving.auth.jwt.jwksUri",
        "must be an https URL",
        _jwt(jwksUri="http://issuer.example.com/keys"),
    ),
    BadGateway(
        "a host outside that looks like one of the cluster",
        "spec.serving.auth.jwt.jwksUri",
        "must be an https URL",
        _jwt(jwksUri="http://issuer.auth.svc.example.com/keys"),
    ),
    BadGateway("tokens for nobody", "spec.serving.auth.jwt.audiences", "1", _jwt(audiences=[])),
    BadGateway("protection by nothing", "spec.serving.auth", "jwt", {"serving": {"auth": {}}}),
    BadGateway(
        "a Secret with a path for a name",
        "spec.serving.tls.secretName",
        "must be the name of a Secret",
        {"serving": {"tls": {"secretName": "../photos"}}},
    ),
    BadGateway("a name of 64 characters", "metadata.name", "at most 63", name="a" * 64),
    BadGateway("a name that starts with a digit", "metadata.name", "starting with", name="9lives"),
)
