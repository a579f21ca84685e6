"""Which model an ``InferenceGateway`` serves: a part of its spec.

Composed into ``gateway.GatewaySpec``; ``plan.fetching`` makes of it what a pod needs.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from igw_operator.api.fields import ApiModel, Guard, SecretName, matches


def _begins(uri: str | None, *schemes: str) -> bool:
    return uri is not None and uri.startswith(schemes)


class Credentials(ApiModel):
    """Who asks for a model that is not everybody's to read."""

    secret_name: SecretName
    """Secret of the namespace. For s3 and gs: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (of gs,
    an HMAC key), and perhaps AWS_SESSION_TOKEN and AWS_REGION. For https: IGW_BEARER_TOKEN. No
    other key of it is read.
    """


class Model(ApiModel):
    """Which model is served."""

    guards: ClassVar = (
        Guard(
            rule="!has(self.sha256) || has(self.uri)",
            message="sha256 is the digest of what uri names: set uri too, or leave both out",
            check=lambda model: model.sha256 is None or model.uri is not None,
        ),
        Guard(
            rule="!has(self.uri) || !self.uri.startsWith('http://') || has(self.sha256)",
            message="without TLS anybody on the way could send another model: set sha256",
            check=lambda model: not _begins(model.uri, "http://") or model.sha256 is not None,
        ),
        Guard(
            rule="!has(self.credentials) || has(self.uri) && self.uri.matches('^(https|s3|gs)://')",
            message="credentials are for a uri of https, s3 or gs",
            check=lambda model: (
                model.credentials is None or _begins(model.uri, "https://", "s3://", "gs://")
            ),
        ),
        Guard(
            rule="!has(self.endpoint) || has(self.uri) && self.uri.startsWith('s3://')",
            message="endpoint is the address of the store of a uri of s3",
            check=lambda model: model.endpoint is None or _begins(model.uri, "s3://"),
        ),
    )

    name: Annotated[
        str,
        Field(max_length=63),
        matches(
            "^[a-z0-9]([-_.a-z0-9]*[a-z0-9])?$",
            "must be lower-case letters, digits, '-', '_' or '.', such as resnet50",
        ),
    ]
    """Name of the model: one that the runtime image carries, or the name that the package at uri
    is served under.
    """
    version: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9._-]+$")] = "1"
    """Version label that the model is served, measured and traced under."""
    uri: (
        Annotated[
            str,
            Field(max_length=1024),
            matches(
                "^(pvc://[a-z0-9]([-.a-z0-9]*[a-z0-9])?/.*|file:///.+"
                "|https?://[-._a-zA-Z0-9]+(:[0-9]+)?/[!-~]+|(s3|gs)://[a-z0-9][-._a-z0-9]*/[!-~]*[!-.0-~])$",
                "must be pvc://CLAIM/PATH, file:///PATH, or that of one archive: "
                "https://HOST/PATH, s3://BUCKET/KEY, gs://BUCKET/KEY; leave it out for a model "
                "that the image carries",
            ),
        ]
        | None
    ) = None
    """Where the model package lies: pvc://CLAIM/PATH in a PersistentVolumeClaim of the namespace,
    or file:///PATH in the image. One archive of it (tar, tar.gz, zip) is fetched before each
    replica starts from http, https, s3://BUCKET/KEY or gs://BUCKET/KEY. Absent: the image's own
    model of that name.
    """
    endpoint: (
        Annotated[
            str,
            Field(max_length=253),
            matches("^https?://[-._a-zA-Z0-9]+(:[0-9]+)?$", "must be http(s)://HOST[:PORT]"),
        ]
        | None
    ) = None
    """Address of the S3 store of uri, such as http://minio.storage:9000. Absent: Amazon's."""
    credentials: Credentials | None = None
    """Who fetches. Absent: the object is everybody's to read."""
    sha256: (
        Annotated[
            str,
            Field(max_length=64),
            matches(
                "^[0-9a-f]{64}$",
                "must be 64 lower-case hexadecimal digits",
            ),
        ]
        | None
    ) = None
    """Digest of the package, as `python -m igw_runtime digest PATH` prints it; a package that does
    not match is not served.
    """
    precision: Literal["auto", "fp32", "fp16", "bf16", "int8"] = "auto"
    """Number format of inference. auto: what the package was exported with. fp16 needs a GPU; int8
    needs a quantised package, and CPUs with VNNI.
    """
