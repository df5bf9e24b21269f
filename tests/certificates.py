"""Certificates of an authority of the test's own, made by OpenSSL's command.

authority = make_authority(tmp_path)
settings = Settings(**make_certificate(tmp_path, authority))
"""

from __future__ import annotations

import subprocess
from pathlib import Path

NEW = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


def make_authority(folder: Path, name: str = "authority") -> Path:
    """An authority's certificate; its key is beside it."""
    certificate = folder / f"{name}.pem"
    run(*NEW, "-subj", f"/CN={name}", "-keyout", str(certificate.with_suffix(".key")), "-out", str(certificate))
    return certificate


def make_certificate(folder: Path, authority: Path, name: str = "machine") -> dict[str, str]:
    """A machine's certificate by that authority, as the three settings that TLS takes."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    signed_by = ("-CA", str(authority), "-CAkey", str(authority.with_suffix(".key")))
    no_authority = ("-addext", "basicConstraints=critical,CA:FALSE")
    run(*NEW, *signed_by, *no_authority, "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate))
    return {"links_certificate": str(certificate), "links_key": str(key), "links_ca": str(authority)}


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
