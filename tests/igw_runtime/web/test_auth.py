import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from igw_runtime.errors import InvalidTokenError, KeysUnavailableError, MissingTokenError
from igw_runtime.settings import JwtSettings, MetricsSettings
from igw_runtime.telemetry.metrics import Metrics
from igw_runtime.web import auth
from igw_runtime.web.auth import Guard
from igw_runtime.web.jwks import MAX_BYTES, KeySetError, KeyStore, build_fetch, parse_key_set
from runtime_kit.tokens import (
    AUDIENCE,
    ISSUER,
    SigningKey,
    a_key_server,
    key_set,
    make_private_key,
)

KEY = SigningKey("one")
OTHER = SigningKey("two")
RSA = SigningKey("rsa", "RS256")


class Office:
    """A guard, its keys, its clock, and the issuer that it asks."""

    def __init__(self, *keys: SigningKey, **options: Any) -> None:
        self.document = key_set(*keys)
        self.failure: Exception | None = None
        self.fetches = 0
        self.now = 1000.0
        self.skew = 0.0
        self.metrics = Metrics(MetricsSettings())
        self.settings = JwtSettings(
            issuer=ISSUER, audiences=[AUDIENCE, "other"], jwksUri="https://issuer/keys", **options
        )
        self.store = KeyStore(self.settings, self.fetch, self.metrics, lambda: self.now)
        self.guard = Guard(self.settings, self.store, lambda: time.time() + self.skew)
        if keys:
            self.store.refresh()

    def fetch(self) -> bytes:
        self.fetches += 1
        if self.failure is not None:
            raise self.failure
        return self.document

    def refuse(self, header: str | None) -> str:
        """Return why the header is refused."""
        with pytest.raises(InvalidTokenError) as caught:
            self.guard.check(header)
        challenge = caught.value.headers["WWW-Authenticate"]
        assert challenge == f'Bearer error="invalid_token", error_description="{caught.value}"'
        return str(caught.value)


@pytest.fixture
def office() -> Office:
    """Return a guard with two keys of different kinds."""
    return Office(KEY, RSA)


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512", "EdDSA", "RS256", "PS512"])
def test_token_of_each_asymmetric_algorithm_is_accepted(algorithm: str) -> None:
    """Whatever the issuer signs with, if its key can be published."""
    key = SigningKey("k", algorithm)

    Office(key).guard.check(key.bearer())


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"aud": ["somebody", "other"]}, id="one of several audiences"),
        pytest.param({"exp": timedelta(seconds=-5)}, id="just expired, by a clock that is ahead"),
        pytest.param({"nbf": timedelta(seconds=5)}, id="valid soon, by a clock that is behind"),
        pytest.param({"iat": None, "sub": None}, id="without what nobody needs"),
    ],
)
def test_good_tokens_are_accepted(office: Office, claims: dict[str, Any]) -> None:
    """Audiences match if one does, and clocks may differ by half a minute."""
    office.guard.check(KEY.bearer(**claims))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": timedelta(seconds=-60)}, "the token has expired"),
        ({"nbf": timedelta(seconds=600)}, "the token is not valid yet"),
        ({"aud": "somebody"}, "the token is meant for another audience"),
        ({"iss": "https://evil.example"}, "the token is from another issuer"),
        ({"exp": None}, "the token lacks one of exp, iss and aud"),
        ({"iss": None}, "the token lacks one of exp, iss and aud"),
        ({"aud": None}, "the token lacks one of exp, iss and aud"),
        ({"exp": "soon"}, "the token is not a signed JWT"),
        ({"exp": float("inf")}, "the token is not a signed JWT"),
    ],
)
def test_bad_claims_are_refused_by_name(
    office: Office, claims: dict[str, Any], reason: str
) -> None:
    """The caller learns which of its claims is wrong."""
    assert office.refuse(KEY.bearer(**claims)) == reason


def _encode(part: dict[str, Any]) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")


def _forge(header: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 600}
    signed = _encode(header) + b"." + _encode(claims)
    signature = base64.urlsafe_b64encode(sign(signed)).rstrip(b"=")
    return (signed + b"." + signature).decode()


def test_published_key_does_not_sign(office: Office) -> None:
    """HS256 with the public key as its secret, the oldest trick."""
    published = RSA.private.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    token = _forge(
        {"alg": "HS256", "kid": "rsa"},
        lambda signed: hmac.new(published, signed, hashlib.sha256).digest(),
    )

    assert office.refuse(f"Bearer {token}") == "the token's algorithm is not one of its key"


@pytest.mark.parametrize("algorithm", ["none", "None", "", None, "RS256", "ES384", ["ES256"]])
def test_token_does_not_choose_its_algorithm(office: Office, algorithm: object) -> None:
    """What verifies is decided by the kind of the key."""
    token = _forge({"alg": algorithm, "kid": "one"}, lambda _: b"")

    office.refuse(f"Bearer {token}")


def test_algorithm_of_the_published_key_is_the_only_one() -> None:
    """A key that says RS256 verifies no PS256, although it could."""
    key = SigningKey("k", "PS256", RSA.private, {"alg": "RS256"})

    reason = Office(key).refuse(key.bearer())

    assert reason == "the token's algorithm is not one of its key"


def test_what_must_be_understood_and_is_not_is_refused(office: Office) -> None:
    """RFC 7515, 4.1.11: whoever sets `crit` counts on it."""
    token = KEY.sign(headers={"crit": ["novelty"], "novelty": 1})

    assert office.refuse(f"Bearer {token}") == "the token is not a signed JWT"


def test_signature_of_another_key_is_refused(office: Office) -> None:
    """The name of a key is no proof of it."""
    reason = office.refuse(SigningKey("one").bearer())

    assert reason == "the token's signature does not match"


def test_token_without_key_id_needs_a_set_that_leaves_no_choice() -> None:
    """One key that fits is enough; of two, none is tried."""
    nameless = SigningKey(None, private=KEY.private)
    Office(KEY, RSA).guard.check(nameless.bearer())

    assert "which key" in Office(KEY, OTHER).refuse(nameless.bearer())


@pytest.mark.parametrize(
    "header",
    [
        "Basic YTpi",
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer é",
        "Bearer a.b",
        "Bearer " + "a" * 20_000,
    ],
)
def test_other_headers_are_refused(office: Office, header: str) -> None:
    """One scheme, one token, of a sane length."""
    office.refuse(header)


def test_no_token_is_another_answer_than_a_bad_one(office: Office) -> None:
    """RFC 6750: a challenge without an error where nothing was wrong with a token."""
    with pytest.raises(MissingTokenError) as caught:
        office.guard.check(None)

    assert caught.value.headers == {"WWW-Authenticate": "Bearer"}


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_header_is_a_crash(text: str) -> None:
    """Whatever is sent is a refusal."""
    _FUZZED.refuse(f"Bearer {text}")


@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64", "x"]),
        st.none() | st.text() | st.integers() | st.lists(st.text()),
    )
)
@settings(max_examples=200, deadline=None)
def test_no_token_header_is_a_crash(header: dict[str, Any]) -> None:
    """What stands in a token's own header is the caller's, too."""
    _FUZZED.refuse(f"Bearer {_forge(header, lambda _: b'x')}")


_FUZZED = Office(KEY)


def test_deeply_nested_header_is_a_refusal(office: Office) -> None:
    """The parser's own limits are no crash either."""
    deep = base64.urlsafe_b64encode(b"[" * 9000).rstrip(b"=").decode()

    assert office.refuse(f"Bearer {deep}.e30.eA") == "the token is not a signed JWT"


def test_verified_token_is_not_verified_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signature costs more than all else that is done on the event loop for a request."""
    header = KEY.bearer()
    office.guard.check(header)
    monkeypatch.setattr(jwt, "decode", None)

    office.guard.check(header)


def test_remembered_token_expires(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is remembered until its expiry and the leeway have passed, then it is judged anew."""

    def judge(*_: Any, **__: Any) -> None:
        raise jwt.ExpiredSignatureError

    header = KEY.bearer(exp=time.time() + 20)
    office.guard.check(header)
    monkeypatch.setattr(jwt, "decode", judge)
    office.skew = 45
    office.guard.check(header)

    office.skew = 51
    assert office.refuse(header) == "the token has expired"


def test_memory_of_tokens_is_bounded(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokens that were used last stay."""
    monkeypatch.setattr(auth, "MAX_REMEMBERED", 2)
    first, second, third = (KEY.bearer(jti=str(number)) for number in range(3))
    for header in (first, second, first, third):
        office.guard.check(header)

    digests = [
        hashlib.sha256(it.removeprefix("Bearer ").encode()).digest() for it in (first, third)
    ]
    assert list(office.guard._remembered) == digests


def test_withdrawn_key_ends_the_tokens_that_it_signed(office: Office) -> None:
    """Rotation: a new key is accepted once published, an old one until it is withdrawn."""
    old, new = KEY.bearer(), OTHER.bearer()
    office.guard.check(old)
    assert "does not publish" in office.refuse(new)

    office.document = key_set(KEY, OTHER)
    office.store.refresh()
    office.guard.check(old)
    office.guard.check(new)

    office.document = key_set(OTHER)
    office.store.refresh()
    assert "does not publish" in office.refuse(old)
    office.guard.check(new)


def test_outage_keeps_the_keys_for_a_bounded_time(office: Office) -> None:
    """An issuer that is down costs nothing for a day; then nobody is let in on old keys."""
    office.failure = OSError("connection refused")
    with capture_logs() as logs:
        for _ in range(3):
            office.now += 28_000
            office.store.refresh()
            office.guard.check(KEY.bearer())
    assert [log["event"] for log in logs] == ["jwks_fetch_failed"]

    office.now += 28_000
    with pytest.raises(KeysUnavailableError):
        office.guard.check(KEY.bearer())

    office.failure = None
    office.store.refresh()
    office.guard.check(KEY.bearer())
    count = office.metrics.registry.get_sample_value
    assert count("igw_runtime_jwks_fetches_total", {"result": "failed"}) == 3


def test_nobody_is_let_in_before_there_are_keys() -> None:
    """Fail closed: what cannot be judged is not served, and it is not the token's fault."""
    office = Office()

    with pytest.raises(KeysUnavailableError):
        office.guard.check(KEY.bearer())


def test_broken_answer_changes_nothing(office: Office) -> None:
    """Half a document, or an error page, is an outage."""
    for document in (b"<html>", b"[]", b'{"keys": 1}', b'{"keys": []}', b"[" * 100_000):
        office.document = document
        office.store.refresh()

    office.guard.check(KEY.bearer())


def test_flood_of_unknown_keys_asks_the_issuer_once(office: Office) -> None:
    """Invented key ids fetch no more often than is allowed, and a good one is served meanwhile."""
    store = KeyStore(office.settings, office.fetch, Metrics(MetricsSettings()), lambda: office.now)
    guard = Guard(office.settings, store, time.time)
    before = office.fetches
    store.start(lambda: None)
    while not store.read():
        time.sleep(0.001)
    for number in range(500):
        with pytest.raises(InvalidTokenError):
            guard.check(SigningKey(f"invented-{number}", private=KEY.private).bearer())
    guard.check(KEY.bearer())
    store.stop()
    store._thread.join(2)

    assert office.fetches - before == 1


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({"kty": "oct", "k": "c2VjcmV0"}, id="a secret"),
        pytest.param(KEY.publish() | {"d": "AAAA"}, id="a private key"),
        pytest.param(KEY.publish() | {"use": "enc"}, id="for encryption"),
        pytest.param(KEY.publish() | {"alg": "HS256"}, id="for an algorithm of another kind"),
        pytest.param(KEY.publish() | {"crv": "secp256k1"}, id="on another curve"),
        pytest.param(KEY.publish() | {"x": "AAAA"}, id="no point of its curve"),
        pytest.param(KEY.publish() | {"x": 1}, id="of wrong types"),
        pytest.param(KEY.publish() | {"kid": 1}, id="with a number for a name"),
        pytest.param(
            SigningKey("k", "RS256", make_private_key("RS256", 1024)).publish(), id="too short"
        ),
        pytest.param("key", id="no object"),
    ],
)
def test_key_that_must_not_verify_is_left_out(entry: Any) -> None:
    """The rest of the set is served; a set of nothing else is refused."""
    good = KEY.publish()

    assert [key.kid for key in parse_key_set(json.dumps({"keys": [entry, good]}).encode())] == [
        "one"
    ]
    with pytest.raises(KeySetError):
        parse_key_set(json.dumps({"keys": [entry]}).encode())


_MEMBERS = ["kty", "crv", "alg", "kid", "use", "x", "y", "n", "e", "key_ops", "x5c"]
_KNOWN = ["RSA", "EC", "OKP", "P-256", "P-521", "Ed25519", "ES256", "AQAB", "AAAA", "", "sig"]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(_MEMBERS),
            st.sampled_from(_KNOWN) | st.text(max_size=8) | st.integers() | st.none(),
        ),
        max_size=4,
    )
)
@settings(max_examples=300, deadline=None)
def test_no_published_key_is_a_crash(entries: list[Any]) -> None:
    """What the issuer sends is bounded, but it is not ours; good keys beside it count."""
    entries = [entry | {"kid": "strange"} for entry in entries]
    content = json.dumps({"keys": [*entries, KEY.publish()]}).encode()

    assert parse_key_set(content)[-1].kid == "one"


@pytest.mark.integration
def test_keys_come_over_http_bounded_and_from_nowhere_else() -> None:
    """An error, a redirect and an endless document are outages."""
    with a_key_server(KEY) as server:
        fetch = build_fetch(server.uri)
        assert parse_key_set(fetch())[0].kid == "one"
        for status, document in ((500, b""), (302, key_set(KEY)), (200, b" " * (MAX_BYTES + 1))):
            server.status, server.document = status, document
            with pytest.raises((OSError, KeySetError)):
                fetch()


def test_nothing_of_a_token_is_logged(office: Office) -> None:
    """Neither of a good one nor of a bad one."""
    with capture_logs() as logs:
        office.guard.check(KEY.bearer())
        office.refuse(KEY.bearer(aud="somebody"))
        office.refuse(OTHER.bearer())

    assert logs == []
