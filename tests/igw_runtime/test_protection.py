"""Real processes: tokens through a rotation and an outage, TLS through a renewal under load."""

import http.client
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from runtime_kit.certificates import Certificates
from runtime_kit.colours import RED, picture, write_package
from runtime_kit.process import ServerProcess, a_server, fetch, free_port, wait_until
from runtime_kit.tokens import AUDIENCE, ISSUER, SigningKey, a_key_server, key_set

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
PNG = picture(RED)
OLD, NEW = SigningKey("old"), SigningKey("new")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the models folder once."""
    root = tmp_path_factory.mktemp("models")
    write_package(root / "colours")
    return root


def settings(**parts: Any) -> dict[str, Any]:
    """Return settings of the second version."""
    return {
        "schemaVersion": 2,
        "model": {"name": "colours"},
        "serving": {"drainSeconds": 0},
    } | parts


def jwt_settings(uri: str) -> dict[str, Any]:
    """Return settings that demand a token, and fetch keys often."""
    jwt = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "jwksUri": uri,
        "refreshSeconds": 60,
        "minRefetchSeconds": 0.1,
    }
    return settings(auth={"jwt": jwt})


def predict(server: ServerProcess, header: str | None) -> int:
    """Return the status of one prediction."""
    extra = {} if header is None else {"Authorization": header}
    return fetch(server.url("/predict"), PNG, {"Content-Type": "image/png"} | extra)[0]


def test_tokens_through_rotation_and_outage(models: Path, tmp_path: Path) -> None:
    """A published key is taken within a moment of its first token; an outage changes nothing."""
    with (
        a_key_server(OLD) as issuer,
        a_server(tmp_path, models, jwt_settings(issuer.uri)) as server,
    ):
        token = OLD.bearer()
        assert [predict(server, it) for it in (token, None, "Bearer x.y.z")] == [200, 401, 401]
        assert server.get("/health")[0] == 200

        issuer.document = key_set(OLD, NEW)
        wait_until(lambda: predict(server, NEW.bearer()) == 200)
        issuer.status = 500
        asked = issuer.asked
        assert predict(server, SigningKey("invented").bearer()) == 401
        wait_until(lambda: issuer.asked > asked)
        wait_until(lambda: server.events("jwks_fetch_failed"))
        assert [predict(server, it.bearer()) for it in (OLD, NEW)] == [200, 200]
        assert server.get("/ready")[0] == 200

        log = server.log_path.read_text()
        assert token.split(".")[1] not in log
        assert server.stop() == 0


def test_pod_without_keys_is_not_ready_and_lets_nobody_in(models: Path, tmp_path: Path) -> None:
    """It becomes ready as soon as the issuer answers."""
    with a_key_server(OLD) as issuer:
        issuer.status = 503
        with a_server(tmp_path, models, jwt_settings(issuer.uri), ready=False) as server:
            wait_until(lambda: server.events("jwks_fetch_failed"))
            wait_until(lambda: predict(server, OLD.bearer()) == 503)
            assert (server.get("/ready")[0], server.get("/health")[0]) == (503, 200)

            issuer.status = 200
            wait_until(lambda: server.get("/ready")[0] == 200)
            assert predict(server, OLD.bearer()) == 200


def test_pod_without_keys_still_stops_when_it_is_told_to(models: Path, tmp_path: Path) -> None:
    """Waiting for an issuer is no reason to linger."""
    unreachable = f"http://127.0.0.1:{free_port()}/keys"
    with a_server(tmp_path, models, jwt_settings(unreachable), ready=False) as server:
        wait_until(lambda: server.events("jwks_fetch_failed"))
        assert server.stop() == 0


class Client(threading.Thread):
    """Sends one request after the other, on one connection or on a new one each time."""

    def __init__(self, port: int, *, keep: bool) -> None:
        super().__init__(daemon=True)
        self.port, self.keep = port, keep
        self.done = threading.Event()
        self.shown: list[bytes] = []
        self.failures: list[str] = []
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE  # which one it was is compared afterwards

    def run(self) -> None:
        connection = self._connect()
        while not self.done.is_set():
            try:
                if not self.keep:
                    connection.close()
                    connection = self._connect()
                connection.request("POST", "/predict", PNG, {"Content-Type": "image/png"})
                raw: Any = connection.sock  # gone after an answer that closes the connection
                shown = raw.getpeercert(binary_form=True)
                response = connection.getresponse()
                response.read()
                assert response.status == 200
                self.shown.append(shown)
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failures.append(repr(error))
        connection.close()

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self.context)


def test_renewed_certificate_costs_no_request(models: Path, tmp_path: Path) -> None:
    """Under load, on new and kept connections; the process then ends as it should."""
    mounted = tmp_path / "tls"
    mounted.mkdir()
    files = Certificates(mounted)
    files.renew()
    tls = {"certificate": str(files.certificate), "key": str(files.key)}
    with a_server(tmp_path, models, settings(tls=tls), ready=False) as server:
        wait_until(lambda: server.events("server_ready"))
        clients = [Client(server.port, keep=keep) for keep in (True, False, False)]
        for client in clients:
            client.start()
        wait_until(lambda: all(client.shown for client in clients))
        expected = [_der(files)]
        for number in range(1, 4):
            files.renew()
            expected.append(_der(files))
            wait_until(lambda number=number: len(server.events("certificate_applied")) == number)
            seen = [len(client.shown) for client in clients]
            wait_until(
                lambda seen=seen: all(
                    len(client.shown) > before + 5
                    for client, before in zip(clients, seen, strict=True)
                )
            )
        for client in clients:
            client.done.set()
        for client in clients:
            client.join(10)

        assert [client.failures for client in clients] == [[], [], []]
        assert set(clients[0].shown) == {expected[0]}
        assert [client.shown[-1] for client in clients[1:]] == [expected[-1]] * 2
        assert set(clients[1].shown) == set(expected)
        assert "igw_runtime_certificate_expiry_timestamp_seconds" in server.metrics()
        assert server.get("/ready")[0] == 0, "plain HTTP is not spoken"
        assert server.stop() == 0


def test_drain_loses_nothing_over_tls(models: Path, tmp_path: Path) -> None:
    """As over plain HTTP: served to the end of the drain, then told to reconnect elsewhere."""
    mounted = tmp_path / "tls"
    mounted.mkdir()
    files = Certificates(mounted)
    files.renew()
    tls = {"certificate": str(files.certificate), "key": str(files.key)}
    drain = settings(tls=tls, serving={"drainSeconds": 1.5})
    with a_server(tmp_path, models, drain, ready=False) as server:
        wait_until(lambda: server.events("server_ready"))
        clients = [Client(server.port, keep=keep) for keep in (True, False)]
        for client in clients:
            client.start()
        wait_until(lambda: all(client.shown for client in clients))
        server.process.terminate()
        wait_until(lambda: server.events("server_draining"))
        seen = [len(client.shown) for client in clients]
        wait_until(
            lambda: all(
                len(client.shown) > before + 5 for client, before in zip(clients, seen, strict=True)
            )
        )
        for client in clients:
            client.done.set()
        for client in clients:
            client.join(10)

        assert [client.failures for client in clients] == [[], []]
        assert server.process.wait(20) == 0


def _der(files: Certificates) -> bytes:
    return ssl.PEM_cert_to_DER_cert(files.certificate.read_text())


def test_unservable_certificate_ends_the_start(models: Path, tmp_path: Path) -> None:
    """The termination message names the files."""
    tls = {"certificate": str(tmp_path / "tls.crt"), "key": str(tmp_path / "tls.key")}
    with a_server(tmp_path, models, settings(tls=tls), ready=False) as server:
        assert server.process.wait(20) == 78
        assert server.termination_log.read_text().startswith("InvalidSettings: tls: ")


def test_nothing_of_it_is_loaded_where_nobody_asks_for_it(models: Path, tmp_path: Path) -> None:
    """Ten megabytes of cryptography are for those who use it."""
    with a_server(tmp_path, models, {"model": {"name": "colours"}}) as server:
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()

        assert "cryptography" not in maps
        assert "igw_runtime_jwks" not in server.metrics()
