"""Makes the cluster's certificates and keys with openssl, in milliseconds.

One authority signs everything; `controlplane` says what for.
"""

from __future__ import annotations

from pathlib import Path

from localnode.commands import run

_CURVE = "ec_paramgen_curve:prime256v1"
_DAYS = "3650"


class Authority:
    """A certificate authority in a folder: `ca.crt`, `ca.key`, and what it signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "ca.crt"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.certificate.exists():
            uses = "keyUsage=critical,digitalSignature,keyCertSign,cRLSign"
            self._request("ca", "/CN=igw-node", ["basicConstraints=critical,CA:TRUE", uses], [])

    def sign(
        self,
        name: str,
        *,
        common_name: str,
        organisation: str = "",
        names: tuple[str, ...] = (),
    ) -> tuple[Path, Path]:
        """Sign a certificate (for a server if it has `names`); return it and its key."""
        subject = f"/O={organisation}/CN={common_name}" if organisation else f"/CN={common_name}"
        extensions = [
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            f"extendedKeyUsage={'serverAuth' if names else 'clientAuth'}",
        ]
        if names:
            extensions.append(f"subjectAltName={','.join(names)}")
        signer = ["-CA", str(self.certificate), "-CAkey", str(self.folder / "ca.key")]
        return self._request(name, subject, extensions, signer)

    def make_key_pair(self, name: str) -> tuple[Path, Path]:
        """Make a bare key pair, for service account tokens; return public and private."""
        public, private = self.folder / f"{name}.pub", self.folder / f"{name}.key"
        run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", _CURVE, "-out", str(private)])
        run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)])
        return public, private

    def _request(
        self, name: str, subject: str, extensions: list[str], signer: list[str]
    ) -> tuple[Path, Path]:
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        options = [part for extension in extensions for part in ("-addext", extension)]
        # An empty configuration: the machine's own would add extensions of its choice.
        config = self.folder / "openssl.cnf"
        config.write_text("[req]\ndistinguished_name = dn\n[dn]\n")
        head = ["openssl", "req", "-x509", "-config", str(config), "-newkey", "ec", "-nodes"]
        head += ["-pkeyopt", _CURVE, "-days", _DAYS, "-subj", subject, *options, *signer]
        run([*head, "-keyout", str(key), "-out", str(certificate)])
        return certificate, key
