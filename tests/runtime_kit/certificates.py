"""A Secret with a certificate, as the kubelet mounts it: tls.crt -> ..data/tls.crt."""

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_DAY = dt.timedelta(days=1)


class Certificates:
    """A folder whose pair is replaced in one step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "tls.crt"
        self.key = folder / "tls.key"
        self.version = 0
        for path in (self.certificate, self.key):
            path.symlink_to(f"..data/{path.name}")

    def renew(self, days: int = 30) -> bytes:
        """Mount a new pair; return the certificate, which clients can trust as it is."""
        certificate, key = make_pair(days)
        self.mount(certificate, key)
        return certificate

    def mount(self, certificate: bytes, key: bytes) -> None:
        """Mount these contents."""
        self.version += 1
        version = self.folder / f"..{self.version}"
        version.mkdir()
        (version / "tls.crt").write_bytes(certificate)
        (version / "tls.key").write_bytes(key)
        swap = self.folder / "..data_tmp"
        swap.symlink_to(version.name)
        swap.rename(self.folder / "..data")


def make_pair(days: int = 30) -> tuple[bytes, bytes]:
    """Return a new certificate for localhost, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY * days)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), secret
