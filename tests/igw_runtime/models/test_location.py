from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from igw_runtime.errors import InvalidSettingsError, ModelNotFoundError
from igw_runtime.models.fetch import FetchOrder, fetch_package
from igw_runtime.models.location import describe_uri, find_location
from igw_runtime.models.signing import AccessKey, presign
from runtime_kit.store import serve, status

NOW = datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC)
KEY = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "se/cret"}


def locate(uri: str, **environment: str) -> str:
    """The URL without its query."""
    return find_location(uri, environment, NOW).url.partition("?")[0]


def test_a_signature_is_the_one_that_amazon_publishes() -> None:
    """The example of docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html."""
    key = AccessKey(
        identity="AKIAIOSFODNN7EXAMPLE", secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    )
    url = presign(
        "https://examplebucket.s3.amazonaws.com/test.txt",
        key,
        region="us-east-1",
        now=datetime(2013, 5, 24, tzinfo=UTC),
        expires_seconds=86400,
    )
    signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    assert url.endswith(f"X-Amz-SignedHeaders=host&X-Amz-Signature={signature}")


def test_a_borrowed_key_is_signed_with_its_token() -> None:
    """As botocore 1.43 signs it, for a store of one's own and a key with odd letters."""
    environment = KEY | {
        "AWS_SESSION_TOKEN": "tok/en+==",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": "http://minio.storage:9000",
    }
    url = find_location("s3://bucket/a b/+&=(é).tar", environment, NOW).url
    assert url.startswith("http://minio.storage:9000/bucket/a%20b/%2B%26%3D%28%C3%A9%29.tar?")
    assert "&X-Amz-Security-Token=tok%2Fen%2B%3D%3D&" in url
    signature = "8cf221179bc0558371a3daf1af2723334c48e333d50851dd07c69c6bdc1dfc8e"
    assert url.endswith(f"&X-Amz-Signature={signature}")


@pytest.mark.parametrize("given", ["http://minio:80", "http://MinIO", "http://Minio:80"])
def test_the_host_is_signed_as_it_is_sent(given: str) -> None:
    """HTTP clients leave out the port that goes without saying, and write hosts in lower case."""

    def sign(endpoint: str) -> str:
        environment = KEY | {"AWS_ENDPOINT_URL": endpoint}
        return find_location("s3://b/m", environment, NOW).url.rpartition("=")[2]

    assert sign(given) == sign("http://minio")
    assert sign(given) != sign("http://minio:8080")


@pytest.mark.parametrize(
    ("uri", "environment", "url"),
    [
        ("s3://b/k/m.tar", {}, "https://b.s3.us-east-1.amazonaws.com/k/m.tar"),
        ("s3://b/m", {"AWS_REGION": "eu-west-1"}, "https://b.s3.eu-west-1.amazonaws.com/m"),
        ("s3://b/m", {"AWS_DEFAULT_REGION": "eu-west-1"}, "https://b.s3.eu-west-1.amazonaws.com/m"),
        ("s3://a.b/m", {}, "https://s3.us-east-1.amazonaws.com/a.b/m"),
        ("s3://b/m", {"AWS_ENDPOINT_URL": "http://minio:9000/"}, "http://minio:9000/b/m"),
        ("s3://b/a#b?c%20d", {}, "https://b.s3.us-east-1.amazonaws.com/a%23b%3Fc%20d"),
        ("gs://b/k/m.tar", {}, "https://storage.googleapis.com/b/k/m.tar"),
        ("https://h/m.tar", KEY, "https://h/m.tar"),
    ],
)
def test_each_store_has_its_address(uri: str, environment: dict[str, str], url: str) -> None:
    """Anonymous requests are not signed, and https is left as it is."""
    assert url == find_location(uri, environment, NOW).url


def test_google_is_signed_with_its_hmac_keys() -> None:
    """Google's stores read the same signature, without a region."""
    url = find_location("gs://b/m", KEY, NOW).url
    assert url.startswith("https://storage.googleapis.com/b/m?")
    assert "X-Amz-Credential=AKIA%2F20261123%2Fauto%2Fs3%2Faws4_request" in url


@pytest.mark.parametrize(
    ("uri", "environment", "words"),
    [
        ("ftp://h/m", {}, "uri begins with http, https, s3 or gs"),
        ("s3://b", {}, "names no object"),
        ("s3://b/folder/", {}, "of one archive"),
        ("s3://b/m", {"AWS_ACCESS_KEY_ID": "a"}, "set both AWS_ACCESS_KEY_ID and"),
    ],
)
def test_what_cannot_be_fetched_is_explained(
    uri: str, environment: dict[str, str], words: str
) -> None:
    """Before anybody is asked."""
    with pytest.raises(InvalidSettingsError, match=words):
        locate(uri, **environment)


def test_secrets_are_not_shown() -> None:
    """Neither of a uri nor of what is made of it."""
    assert describe_uri("https://me:pass@host:1/a?sig=x#y") == "https://host:1/a"
    location = find_location("s3://b/m", KEY, NOW)
    assert "AKIA" not in repr(location)
    assert "se/cret" not in repr(AccessKey(identity="AKIA", secret="se/cret"))


def test_a_bucket_is_asked_and_asked_again(tmp_path: Path) -> None:
    """Signed anew for each attempt; a store that says no is told by what it says."""
    content = b"package"
    with serve(content) as store:
        environment = KEY | {"AWS_ENDPOINT_URL": store.url}
        order = FetchOrder(
            uri="s3://models/a b.tar",
            sha256=hashlib.sha256(content).hexdigest(),
            folder=tmp_path,
            environment=environment,
        )
        store.script = [status(503)]
        assert fetch_package(order, wait=lambda _: None).read_bytes() == content
        assert [path.partition("?")[0] for path in store.paths] == ["/models/a%20b.tar"] * 2
        assert all("X-Amz-Signature=" in path for path in store.paths)

        (tmp_path / "package").unlink()
        store.script = [status(400, x_amz_bucket_region="eu-west-3")]
        words = r"^s3://models/a b.tar: the server answers 400 .*region eu-west-3, as AWS_REGION"
        with pytest.raises(ModelNotFoundError, match=words):
            fetch_package(order)
