"""``spec.serving.auth`` and ``spec.serving.tls`` of an ``InferenceGateway``.

Composed into ``gateway.Serving``; the runtime itself checks tokens and ends TLS.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from igw_operator.api.fields import ApiModel, SecretName, matches


class Jwt(ApiModel):
    """Whose tokens are accepted."""

    issuer: Annotated[str, Field(min_length=1, max_length=512)]
    """Issuer of the tokens, exactly as their claim iss has it."""
    audiences: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=512)], ...],
        Field(min_length=1, max_length=16),
    ]
    """For whom a token must be meant: one of these must be in its claim aud."""
    jwks_uri: Annotated[
        str,
        Field(max_length=1024),
        matches(
            "^(https://[A-Za-z0-9.-]+|http://localhost|http://([a-z0-9-]+[.])+svc"
            "([.]cluster[.]local)?)(:[0-9]{1,5})?(/[A-Za-z0-9._~:/?&=%+-]*)?$",
            "must be an https URL, such as https://issuer.example.com/keys; http is for "
            "Services of the cluster alone, such as http://issuer.auth.svc/keys",
        ),
    ]
    """Address of the issuer's public keys (a JSON Web Key Set)."""


class Auth(ApiModel):
    """Who may call."""

    jwt: Jwt
    """A bearer token of this issuer is needed for everything but probes and the API's
    description.
    """


class Tls(ApiModel):
    """Encryption between clients and pods."""

    secret_name: SecretName
    """Secret of the namespace with tls.crt (the certificate, then its chain) and tls.key, as
    cert-manager writes it. A renewed one is served within two minutes, without a restart.
    """
