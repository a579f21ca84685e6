"""Tokens and TLS of a gateway that is there already: switched on, and off again."""

from __future__ import annotations

import json
from typing import Any

from integration.conftest import Place

SERVING = {
    "auth": {
        "jwt": {
            "issuer": "https://issuer.example.com",
            "audiences": ["photos"],
            "jwksUri": "https://issuer.example.com:8443/keys",
        }
    },
    "tls": {"secretName": "photos-tls"},
}


def describe(place: Place) -> dict[str, Any]:
    """What of the children depends on them."""
    pod = place.must_get("Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    config = place.must_get("ConfigMap", "photos-config")["data"]["runtime.json"]
    egress = place.must_get("NetworkPolicy")["spec"]["egress"]
    return {
        "version": json.loads(config)["schemaVersion"],
        "ports": [(it["name"], it["port"]) for it in place.must_get("Service")["spec"]["ports"]],
        "schemes": {
            container[f"{kind}Probe"]["httpGet"]["scheme"]
            for kind in ("startup", "readiness", "liveness")
        },
        "volumes": {volume["name"] for volume in pod["volumes"]},
        "egress": {port["port"] for rule in egress for port in rule["ports"]},
        "url": place.gateway()["status"]["address"]["url"],
    }


def test_protection_is_switched_on_and_off(place: Place) -> None:
    """Every child follows both ways, nothing of it is left over, and then nothing is written."""
    place.make(replicas=1)
    before = describe(place)

    place.make(replicas=1, serving=SERVING)
    on = describe(place)
    with place.recording() as writes:
        place.wait_settled()

    assert writes == []
    assert on == before | {
        "version": 2,
        "ports": [("https", 443)],
        "schemes": {"HTTPS"},
        "volumes": before["volumes"] | {"tls"},
        "egress": before["egress"] | {8443},
        "url": f"https://photos.{place.namespace}.svc",
    }

    place.make(replicas=1)
    assert describe(place) == before
