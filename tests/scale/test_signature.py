"""A report that was signed cannot be changed unnoticed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tumorlens.errors import MissingFileError, SettingError
from tumorlens.scale.signature import (
    fingerprint,
    is_signed,
    read_private_key,
    read_public_key,
    sign_files,
    signature_path,
)


def write_key(
    folder: Path,
    form: PrivateFormat = PrivateFormat.PKCS8,
    lock: KeySerializationEncryption | None = None,
) -> tuple[Path, Path]:
    """Write a new key and its public half."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / "key", folder / "key.pub"
    private.write_bytes(
        key.private_bytes(Encoding.PEM, form, NoEncryption() if lock is None else lock)
    )
    kinds = (
        (Encoding.OpenSSH, PublicFormat.OpenSSH)
        if form is PrivateFormat.OpenSSH
        else (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    public.write_bytes(key.public_key().public_bytes(*kinds))
    return private, public


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.OpenSSH])
def test_a_changed_byte_is_noticed(form, tmp_path):
    private, public = write_key(tmp_path, form)
    report = tmp_path / "report.html"
    report.write_bytes(b"<p>sensitivity 0.93</p>")
    assert sign_files(read_private_key(private), [report]) == [signature_path(report)]
    assert signature_path(report).stat().st_size == 64
    key = read_public_key(public)
    assert is_signed(key, report)
    assert fingerprint(key) == fingerprint(read_private_key(private).public_key())
    report.write_bytes(b"<p>sensitivity 0.98</p>")
    assert not is_signed(key, report)
    signature_path(report).write_bytes(b"short")
    assert not is_signed(key, report)


def test_somebody_elses_key_does_not_fit(tmp_path):
    (tmp_path / "other").mkdir()
    private, _ = write_key(tmp_path)
    _, other = write_key(tmp_path / "other")
    report = tmp_path / "report.html"
    report.write_bytes(b"figures")
    sign_files(read_private_key(private), [report])
    assert not is_signed(read_public_key(other), report)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs OpenSSL")
def test_openssl_checks_it_too(tmp_path):
    private, public = write_key(tmp_path)
    report = tmp_path / "report.pdf"
    report.write_bytes(b"figures")
    sign_files(read_private_key(private), [report])
    call = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin"]
    call += ["-in", str(report), "-sigfile", str(signature_path(report))]
    assert subprocess.run(call, capture_output=True).returncode == 0
    report.write_bytes(b"forged!")
    assert subprocess.run(call, capture_output=True).returncode != 0


def test_a_password_opens_a_key(tmp_path):
    private, _ = write_key(tmp_path, lock=BestAvailableEncryption(b"secret"))
    assert read_private_key(private, "secret")
    for password in (None, "wrong"):
        with pytest.raises(SettingError, match="cannot be opened"):
            read_private_key(private, password)


def test_what_is_no_key_is_refused(tmp_path):
    wrong = tmp_path / "rsa.pem"
    key = rsa.generate_private_key(65537, 2048)
    wrong.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    with pytest.raises(SettingError, match="no private Ed25519 key"):
        read_private_key(wrong)
    for text in ("words", "ssh-ed25519 words"):
        wrong.write_text(text)
        with pytest.raises(SettingError, match="no public Ed25519 key"):
            read_public_key(wrong)
    with pytest.raises(SettingError, match="no private Ed25519 key"):
        read_private_key(wrong)
    with pytest.raises(MissingFileError, match="cannot be read"):
        read_public_key(tmp_path / "none")
