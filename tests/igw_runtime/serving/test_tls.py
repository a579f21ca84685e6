import ssl
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from structlog.testing import capture_logs

from igw_runtime.errors import InvalidSettingsError
from igw_runtime.serving.tls import ServedCertificate
from igw_runtime.settings import TlsSettings
from runtime_kit.certificates import Certificates, make_pair


class Served:
    """A mounted pair and what serves it."""

    def __init__(self, folder: Path) -> None:
        self.files = Certificates(folder)
        self.first = self.files.renew()
        self.expiries: list[float] = []
        settings = TlsSettings(certificate=self.files.certificate, key=self.files.key)
        self.certificate = ServedCertificate(settings, self.expiries.append)

    def greets(self, trusted: bytes) -> bool:
        """Tell whether a client that trusts only this certificate is satisfied."""
        client = ssl.create_default_context(cadata=trusted.decode())
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        here = client.wrap_bio(to_client, to_server, server_hostname="localhost")
        there = self.certificate.context.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(4):
            for side in (here, there):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                except ssl.SSLCertVerificationError:
                    return False
        return here.version() == "TLSv1.3"


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """Return a served certificate."""
    return Served(tmp_path)


def test_renewed_certificate_is_served_to_the_next_handshake(served: Served) -> None:
    """Once for each renewal, and the metric follows."""
    assert served.greets(served.first)
    second = served.files.renew(days=60)
    with capture_logs() as logs:
        served.certificate.check()
        served.certificate.check()

    assert (served.greets(served.first), served.greets(second)) == (False, True)
    assert [log["event"] for log in logs] == ["certificate_applied"]
    assert [round((it - time.time()) / 86_400) for it in served.expiries] == [30, 60]


def test_pair_that_does_not_match_keeps_the_old_one_and_says_so_once(served: Served) -> None:
    """Half a renewal, an empty file, a locked key: clients see none of them."""
    certificate, key = make_pair()
    locked = load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")
    )
    for content in ((certificate, make_pair()[1]), (certificate, b""), (certificate, locked)):
        served.files.mount(*content)
        with capture_logs() as logs:
            served.certificate.check()
            served.certificate.check()
        assert [log["event"] for log in logs] == ["certificate_rejected"]
        assert b"PRIVATE" not in repr(logs).encode()
        assert served.greets(served.first)

    served.files.mount(certificate, key)
    served.certificate.check()
    assert served.greets(certificate)


def test_files_that_are_gone_change_nothing(served: Served) -> None:
    """Between two steps of a swap there may be none."""
    (served.files.folder / "..data").unlink()
    served.certificate.check()

    assert served.greets(served.first)


def test_start_without_a_pair_says_which_files(tmp_path: Path) -> None:
    """A pod that cannot serve TLS does not serve at all."""
    files = Certificates(tmp_path)
    settings = TlsSettings(certificate=files.certificate, key=files.key)
    with pytest.raises(InvalidSettingsError, match=r"tls: .*tls.crt and .*: No such file"):
        ServedCertificate(settings, lambda _: None)

    files.mount(make_pair()[0], make_pair()[1])
    with pytest.raises(InvalidSettingsError, match=r"not a certificate and its key"):
        ServedCertificate(settings, lambda _: None)


def test_old_protocols_are_refused(served: Served) -> None:
    """TLS 1.2 at least."""
    assert served.certificate.context.minimum_version is ssl.TLSVersion.TLSv1_2
