"""Certificates that tests make for themselves."""

import subprocess
from pathlib import Path

from tests.programs import program


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate for loopback, valid for a day: (certificate, key), both PEM files."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([program("openssl"), "req", *kind, *subject, *files], check=True, capture_output=True)
    return certificate, key
