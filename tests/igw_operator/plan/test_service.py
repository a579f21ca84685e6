from __future__ import annotations

from igw_operator import conventions
from plan_kit.children import build


def test_offers_port_80_to_clients() -> None:
    """Clients call port 80; which port the container uses is its own business."""
    (port,) = build()["Service", "photos"]["spec"]["ports"]
    assert (port["name"], port["port"], port["targetPort"]) == ("http", 80, "http")


def test_offers_grpc_to_those_who_ask_for_it() -> None:
    """On a port of its own, of which proxies know that it is HTTP/2."""
    service = build(serving={"grpc": True})["Service", "photos"]
    http, grpc = service["spec"]["ports"]
    assert http["port"] == 80
    assert (grpc["name"], grpc["port"], grpc["targetPort"]) == ("grpc", 9000, "grpc")
    assert grpc["appProtocol"] == "kubernetes.io/h2c"


def test_offers_https_where_pods_speak_tls() -> None:
    """On the port that clients expect it on, and proxies are told."""
    serving = {"grpc": True, "tls": {"secretName": "photos-tls"}}
    https, grpc = build(serving=serving)["Service", "photos"]["spec"]["ports"]
    assert (https["name"], https["port"], https["targetPort"]) == ("https", 443, "http")
    assert [port["appProtocol"] for port in (https, grpc)] == ["https", "https"]


def test_passes_type_and_annotations_on() -> None:
    """What a cloud's load balancer reads reaches it untouched."""
    annotations = {"example.org/strange": "{{ yes }} \n"}
    service = build(service={"type": "LoadBalancer", "annotations": annotations})[
        "Service", "photos"
    ]
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["metadata"]["annotations"] == annotations


def test_marks_only_the_metrics_service_for_scraping() -> None:
    """One Service is scraped, once: it is headless and knows draining pods too."""
    children = build()
    marked = [
        child
        for child in children.values()
        if conventions.LABEL_SERVICE in child["metadata"]["labels"]
    ]
    assert [child["metadata"]["name"] for child in marked] == ["photos-metrics"]
    spec = marked[0]["spec"]
    assert spec["clusterIP"] == "None"
    assert spec["publishNotReadyAddresses"] is True
    assert [(port["name"], port["port"]) for port in spec["ports"]] == [("metrics", 9090)]
