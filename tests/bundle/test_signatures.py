"""Signatures of minisign over SHA256SUMS."""

import base64
import hashlib
import os
import shutil

import pytest

import dentalzoo as dz
from dentalzoo.bundle import integrity
from dentalzoo.bundle.signatures import verify_signature
from dentalzoo.cli import main
from dentalzoo.errors import BadFile
from tests.bundle.test_released import ROOT, SMALL

ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")

KEY_ID = bytes(range(8))
COMMENT = "timestamp:1\tfile:SHA256SUMS"


def text(*parts):
    return base64.b64encode(b"".join(parts)).decode()


def public_key(private, key_id=KEY_ID):
    public = private.public_key().public_bytes_raw()
    return f"untrusted comment: a key\n{text(b'Ed', key_id, public)}\n"


def sign(private, content, comment=COMMENT, prehashed=True, key_id=KEY_ID):
    """Sign as minisign does."""
    signature = private.sign(hashlib.blake2b(content).digest() if prehashed else content)
    return (
        f"untrusted comment: x\n{text(b'ED' if prehashed else b'Ed', key_id, signature)}\n"
        f"trusted comment: {comment}\n{text(private.sign(signature + comment.encode()))}\n"
    )


@pytest.fixture
def private():
    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def key(private, tmp_path):
    (tmp_path / "key.pub").write_text(public_key(private))
    return tmp_path / "key.pub"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / integrity.SUMS).write_bytes(b"the sums\n")
    return tmp_path / "bundle"


@pytest.mark.parametrize("prehashed", [True, False])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_signature_is_verified(folder, key, private, prehashed, ends):
    signature = sign(private, b"the sums\n", prehashed=prehashed).replace("\n", ends)
    (folder / integrity.SIGNATURE).write_bytes(signature.encode())
    assert verify_signature(folder, key) == COMMENT
    key.write_text(key.read_text().split("\n")[1])  # as on the command line of minisign
    assert verify_signature(folder, key) == COMMENT


def test_a_signature_of_minisign_itself_is_verified(folder, tmp_path):
    """Of the documentation of minisign-verify 0.2, over the four bytes `test`."""
    (tmp_path / "key.pub").write_text("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")
    (folder / integrity.SUMS).write_bytes(b"test")
    (folder / integrity.SIGNATURE).write_text(
        "untrusted comment: signature from minisign secret key\n"
        "RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOo"
        "crCo8KLzZwo=\n"
        "trusted comment: timestamp:1633700835\tfile:test\tprehashed\n"
        "wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==\n"
    )
    comment = verify_signature(folder, tmp_path / "key.pub")
    assert comment == "timestamp:1633700835\tfile:test\tprehashed"


def test_any_other_signature_is_refused_in_one_line(folder, key, private):
    good, other = sign(private, b"the sums\n"), ed25519.Ed25519PrivateKey.generate()
    lines = good.splitlines()
    bad = {
        "other sums": (sign(private, b"The sums\n"), "must be the signature of SHA256SUMS by the"),
        "other key": (sign(other, b"the sums\n"), "must be the signature of SHA256SUMS by the key"),
        "other id": (sign(private, b"the sums\n", key_id=b"12345678"), "one of the key 38373635"),
        "other comment": (good.replace("timestamp:1", "timestamp:2"), "must be the signature of"),
        "no comment": ("\n".join(lines[:2]), "must be a signature of minisign"),
        "no base64": (good.replace(lines[1], "?" * 100), "must be a signature of minisign"),
        "short": (good.replace(lines[1], text(b"ED", KEY_ID)), "must be a signature of minisign"),
        "algorithm": (good.replace(lines[1], text(b"XX", bytes(72))), "must be a signature of"),
        "terminal": (sign(private, b"the sums\n", "\x1b[2J"), "must be a signature of minisign"),
        "empty": ("", "must be a signature of minisign"),
        "huge": ("x" * 10**6, "must be a signature of minisign"),
        "bytes": (b"\xff", "cannot be read. Received: other bytes than text"),
    }
    for case, (content, reason) in bad.items():
        content = content if isinstance(content, bytes) else content.encode()
        (folder / integrity.SIGNATURE).write_bytes(content)
        with pytest.raises(BadFile, match=reason) as caught:
            verify_signature(folder, key)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500, case
    os.remove(folder / integrity.SIGNATURE)
    with pytest.raises(BadFile, match="minisig: cannot be read. Received: No such file"):
        verify_signature(folder, key)
    for content in ("", "x", text(b"Ed", bytes(39)), good):
        key.write_text(content)
        with pytest.raises(BadFile, match=r"key.pub: must be a public key of minisign. Received"):
            verify_signature(folder, key)


def test_the_command_verifies_a_signed_bundle(tmp_path, key, private, capsys):
    folder = shutil.copytree(ROOT / "pretrained" / SMALL, tmp_path / "mine")
    assert main(["verify", str(folder), "--key", str(key)]) == 2
    assert "minisig: cannot be read" in capsys.readouterr().err
    sums = (folder / integrity.SUMS).read_bytes()
    (folder / integrity.SIGNATURE).write_text(sign(private, sums))
    assert main(["verify", str(folder), "--key", str(key)]) == 0
    assert f"; signed by the key in {key}: {COMMENT}\n" in capsys.readouterr().out
    assert dz.verify(folder, key)["signed"] == COMMENT and dz.verify(folder)["signed"] is None
    assert integrity.sums(folder).encode() == sums
