"""The settings file: its schema, its defaults, and how a mistake in it is explained.

The operator writes this file (camelCase JSON) and mounts it; `__main__` reads it at start,
`telemetry.live` reads its `live` part again while the process runs. Parsing is pure.
The operator may be newer than this runtime: a key that is not known here is left out and
named, so that somebody can warn of it. What must not be left out comes with another
`schemaVersion`, which is refused.
The environment is read here too, once, by `read_environment`.
"""

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from igw_runtime.errors import InvalidSettingsError

DEFAULT_CONFIG_PATH: Final = "/etc/igw/runtime.json"
SUPPORTED_URIS: Final = '"" (a model built into the image, by name), "file:///absolute/path"'

MAX_BATCH: Final = 64
MAX_MODELS: Final = 16

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Percent = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    """One object of the file: camelCase, frozen, strict, and closed."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        allow_inf_nan=False,
        extra="forbid",
        frozen=True,
        strict=True,
    )


class GatewaySettings(_Section):
    """Whose pod this is; becomes `service.name` and `service.namespace`."""

    namespace: str = ""
    name: str = "igw-runtime"


class ModelSettings(_Section):
    """Which model is served, from where, and how it is run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
    version: str = ""  # "" = the version that the package states
    uri: str = ""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    precision: Literal["auto", "fp32", "fp16", "bf16", "int8"] = "auto"
    engine: Literal["auto", "openvino", "torch"] = "auto"
    torch_compile: bool = False

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, uri: str) -> str:
        parts = urlsplit(uri)
        absolute_file = parts.scheme == "file" and not parts.netloc and parts.path.startswith("/")
        if uri and not absolute_file:
            message = f"unsupported model uri; supported: {SUPPORTED_URIS}"
            raise ValueError(message)
        return uri


class ServerSettings(_Section):
    """Where the process listens."""

    port: Port = 8080
    metrics_port: Port = 9090
    grpc_port: Annotated[int, Field(ge=0, le=65535)] = 0  # 0 = no gRPC


class JwtSettings(_Section):
    """Whose tokens are accepted, for whom they must be meant, and how long keys are trusted."""

    issuer: Annotated[str, Field(min_length=1)]
    audiences: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    jwks_uri: Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+[^\s#]*$")]
    leeway_seconds: Annotated[float, Field(ge=0, le=300)] = 30.0
    refresh_seconds: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    min_refetch_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 10.0
    max_key_age_seconds: Annotated[float, Field(ge=60, le=2_592_000)] = 86_400.0


class AuthSettings(_Section):
    """Who may infer; without `jwt` everybody who can connect."""

    jwt: JwtSettings | None = None


class TlsSettings(_Section):
    """The certificate that is served, and its key: PEM files that may change at any time."""

    certificate: Path = Field(strict=False)
    key: Path = Field(strict=False)


class ServingSettings(_Section):
    """The bounds of work: time, count, bytes, pixels."""

    timeout_seconds: Seconds = 30.0
    body_timeout_seconds: Seconds = 10.0
    max_queue: Count = 64
    max_queue_bytes: Count = 268_435_456
    max_batch: int | Literal["auto"] = 1
    workers: Annotated[int, Field(ge=0, le=256)] = 0  # 0 = one for each CPU of the cgroup
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = 10.0
    max_body_bytes: Count = 10_485_760
    max_pixels: Count = 50_000_000
    exact: bool = False

    @field_validator("max_batch", mode="plain")
    @classmethod
    def _check_max_batch(cls, value: object) -> object:
        # By hand: of a union, pydantic would explain each member by a name of its own.
        if value == "auto" or (type(value) is int and 1 <= value <= MAX_BATCH):
            return value
        message = f'should be a whole number from 1 to {MAX_BATCH}, or "auto"'
        raise ValueError(message)


class TelemetrySettings(_Section):
    """Where traces go; an empty endpoint turns them off."""

    otlp_endpoint: Annotated[str, Field(pattern=r"^(https?://[^\s]+)?$")] = ""


class LogSamplingSettings(_Section):
    """Of how many requests the lines of a level are logged; errors always are."""

    debug: Percent = 100.0
    info: Percent = 100.0
    warning: Percent = 100.0


class LoggingSettings(_Section):
    """How much is logged."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    sampling_percent: LogSamplingSettings = LogSamplingSettings()
    max_bytes_per_second: Annotated[int, Field(ge=0)] = 1_048_576  # 0 = no limit


class TracingSettings(_Section):
    """Which requests are traced, and from when on one counts as slow."""

    enabled: bool = True
    sampling_percent: Percent = 10.0
    slow_threshold_seconds: Seconds = 0.3


class MetricsSettings(_Section):
    """Latency thresholds that need a bucket, and the bound on class labels."""

    latency_buckets_seconds: Annotated[list[Seconds], Field(max_length=16)] = Field(
        default_factory=lambda: [0.3]
    )
    max_prediction_classes: Annotated[int, Field(ge=0, le=100_000)] = 1000


class LiveSettings(_Section):
    """What may change while the process runs."""

    logging: LoggingSettings = LoggingSettings()
    tracing: TracingSettings = TracingSettings()
    metrics: MetricsSettings = MetricsSettings()


class Settings(_Section):
    """The whole file.

    `model` is the default one: `/predict` is its, and so is its name without a version. Of
    additional models, the first of a name is that name's. Version 2 is version 1 with something
    in it that may not be left out, such as `auth` or `tls`: a runtime that does not know it refuses
    the file instead of serving everybody.
    """

    schema_version: Literal[1, 2]
    gateway: GatewaySettings = GatewaySettings()
    model: ModelSettings
    additional_models: Annotated[list[ModelSettings], Field(max_length=MAX_MODELS - 1)] = Field(
        default_factory=list
    )
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    tls: TlsSettings | None = None
    serving: ServingSettings = ServingSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    live: LiveSettings = LiveSettings()

    @property
    def models(self) -> list[ModelSettings]:
        """Return all models, the default one first."""
        return [self.model, *self.additional_models]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSettings:
    """A parsed file, with the digest of its `live` object exactly as written."""

    settings: Settings
    live_hash: str
    unknown: tuple[str, ...] = ()
    """What was left out: one explanation for each key that is not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the process is told by environment variables; all have defaults."""

    config_path: Path
    models_root: Path
    termination_log: Path
    host: str
    pod_name: str
    pod_namespace: str
    node_name: str


def read_environment(variables: Mapping[str, str]) -> Environment:
    """Read the variables that this package knows."""
    return Environment(
        config_path=Path(variables.get("IGW_CONFIG") or DEFAULT_CONFIG_PATH),
        models_root=Path(variables.get("IGW_MODELS") or "/models"),
        termination_log=Path(variables.get("IGW_TERMINATION_LOG") or "/dev/termination-log"),
        host=variables.get("IGW_HOST", ""),  # "" = every address, of every family
        pod_name=variables.get("POD_NAME", ""),
        pod_namespace=variables.get("POD_NAMESPACE", ""),
        node_name=variables.get("NODE_NAME", ""),
    )


def load_settings(path: Path) -> LoadedSettings:
    """Read and parse the file at `path`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise InvalidSettingsError(message) from error
    return parse_settings(content)


def parse_settings(content: bytes) -> LoadedSettings:
    """Parse the file's content, or explain its first mistakes by key path."""
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        message = f"not JSON: {error}"
        raise InvalidSettingsError(message) from error
    unknown: list[ErrorDetails] = []
    try:
        settings = Settings.model_validate_json(content)
    except ValidationError as error:
        details = error.errors(include_url=False)
        unknown = [detail for detail in details if detail["type"] == "extra_forbidden"]
        if len(unknown) < len(details):
            message = "; ".join(_explain(detail) for detail in details[:5])
            raise InvalidSettingsError(message) from error
        known = _without(raw, [detail["loc"] for detail in unknown])
        settings = Settings.model_validate_json(json.dumps(known))
    _check_version(settings)
    _check_models(settings)
    _check_ports(settings.server)
    return LoadedSettings(
        settings=settings,
        live_hash=hash_live(raw.get("live", {})),
        unknown=tuple(_explain(detail) for detail in unknown),
    )


def _without(raw: dict[str, Any], paths: Iterable[tuple[int | str, ...]]) -> dict[str, Any]:
    known = copy.deepcopy(raw)
    for *sections, key in paths:
        section: Any = known
        for name in sections:
            section = section[name]
        del section[key]
    return known


def _check_version(settings: Settings) -> None:
    """Refuse what an older runtime would leave out: who wrote the file may meet one."""
    guarded = {
        "auth": settings.auth.jwt,
        "tls": settings.tls,
        "additionalModels": settings.additional_models or None,
    }
    for key, asked in guarded.items():
        if asked is not None and settings.schema_version == 1:
            message = f"{key}: needs schemaVersion 2, which an older runtime refuses"
            raise InvalidSettingsError(message)


def _check_models(settings: Settings) -> None:
    """Refuse to serve two models under one name and version."""
    served = {(settings.model.name, settings.model.version)}
    for number, model in enumerate(settings.additional_models):
        if (model.name, model.version) in served:
            message = (
                f"additionalModels.{number}: version {model.version!r} of {model.name!r} is "
                "already served; give it another version or name"
            )
            raise InvalidSettingsError(message)
        served.add((model.name, model.version))


def _check_ports(server: ServerSettings) -> None:
    """Refuse two listeners on one port, naming the later one."""
    if server.metrics_port == server.port:
        message = "server.metricsPort: must differ from server.port"
        raise InvalidSettingsError(message)
    if server.grpc_port in {server.port, server.metrics_port}:
        message = "server.grpcPort: must differ from server.port and server.metricsPort"
        raise InvalidSettingsError(message)


def hash_live(live: Mapping[str, Any]) -> str:
    """Digest the `live` object; the operator computes the same to see its change arrive."""
    canonical = json.dumps(live, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _explain(detail: ErrorDetails) -> str:
    path = ".".join(str(part) for part in detail["loc"]) or "(the file)"
    if detail["type"] == "extra_forbidden":
        allowed = ", ".join(sorted(_allowed_keys(detail["loc"][:-1])))
        return f"{path}: unknown key; allowed here: {allowed}"
    if detail["type"] == "missing":
        return f"{path}: required key is missing"
    message = detail["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return f"{path}: {message}, got {json.dumps(detail['input'], default=str)[:80]}"


def _allowed_keys(path: tuple[int | str, ...]) -> set[str]:
    section: type[BaseModel] = Settings
    for key in path:
        if isinstance(key, int):
            continue  # all elements of a list have the same keys
        fields = {field.alias: field.annotation for field in section.model_fields.values()}
        candidates = (fields[key], *get_args(fields[key]))
        section = next(kind for kind in candidates if isinstance(kind, type))
    return {field.alias or name for name, field in section.model_fields.items()}
