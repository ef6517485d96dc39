"""Signatures of third parties over SHA256SUMS: those of minisign, which are Ed25519.

`minisign -Sm SHA256SUMS` writes SHA256SUMS.minisig beside it, the one file of a bundle that the
sums do not list. Format: https://jedisct1.github.io/minisign/#signature-format
"""

import base64
import binascii
import hashlib
from pathlib import Path
from typing import NamedTuple

from dentalzoo.bundle.integrity import SIGNATURE, SUMS
from dentalzoo.bundle.schema import UNSAFE, shown
from dentalzoo.errors import BadFile, require

_MAX_BYTES = 4096  # of a key or a signature; they have about 120 and 300
_LEGACY, _PREHASHED = b"Ed", b"ED"  # of the content, or of its BLAKE2b
_COMMENT, _TRUSTED = "untrusted comment: ", "trusted comment: "


class _Signature(NamedTuple):
    algorithm: bytes
    key_id: bytes
    signature: bytes  # of the sums
    comment: str
    comment_signature: bytes  # of the signature and the trusted comment


def verify_signature(path: Path, key: Path) -> str:
    """Verify SHA256SUMS.minisig of a bundle against a public key.

    Args:
        path: the folder of the bundle, whose files are those that SHA256SUMS lists.
        key: a public key of minisign (`minisign.pub`).

    Returns:
        The trusted comment, which is signed too.

    Raises:
        DentalzooError: there is no signature, it is of another key or of other sums; or the extra
            `sign` is not installed.
    """
    ed25519 = require("cryptography.hazmat.primitives.asymmetric.ed25519", "sign")
    exceptions = require("cryptography.exceptions", "sign")
    key_id, public = _read_key(key)
    file = path / SIGNATURE
    signed = _read_signature(file)
    if signed.key_id != key_id:
        raise BadFile(
            file,
            f"must be a signature of the key {_hex(key_id)} in {key}. "
            f"Received: one of the key {_hex(signed.key_id)}",
        )
    content = (path / SUMS).read_bytes()
    if signed.algorithm == _PREHASHED:
        content = hashlib.blake2b(content).digest()
    verifier = ed25519.Ed25519PublicKey.from_public_bytes(public)
    try:
        verifier.verify(signed.signature, content)
        verifier.verify(signed.comment_signature, signed.signature + signed.comment.encode())
    except exceptions.InvalidSignature:
        raise BadFile(
            file, f"must be the signature of {SUMS} by the key {_hex(key_id)}. Received: another"
        ) from None
    return signed.comment


def _read_key(file: Path) -> tuple[bytes, bytes]:
    """Return the id and the 32 bytes of a public key."""
    lines = _lines(file)
    if len(lines) == 2 and lines[0].startswith(_COMMENT):
        lines = lines[1:]
    content = _decoded(lines[0]) if len(lines) == 1 else b""
    if len(content) != 42 or content[:2] != _LEGACY:
        raise BadFile(file, f"must be a public key of minisign. Received: {shown(lines)}")
    return content[2:10], content[10:]


def _read_signature(file: Path) -> _Signature:
    lines = _lines(file)
    whole = len(lines) == 4 and not UNSAFE.search("".join(lines))
    if whole and lines[0].startswith(_COMMENT) and lines[2].startswith(_TRUSTED):
        content, of_comment = _decoded(lines[1]), _decoded(lines[3])
        if len(content) == 74 and len(of_comment) == 64 and content[:2] in (_LEGACY, _PREHASHED):
            comment = lines[2].removeprefix(_TRUSTED)
            return _Signature(content[:2], content[2:10], content[10:], comment, of_comment)
    raise BadFile(file, f"must be a signature of minisign. Received: {shown(lines)}")


def _lines(file: Path) -> list[str]:
    try:
        with file.open("rb") as stream:
            lines = stream.read(_MAX_BYTES).decode().replace("\r\n", "\n").split("\n")
        return lines[:-1] if lines[-1] == "" else lines
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "other bytes than text"
        raise BadFile(file, f"cannot be read. Received: {reason}") from None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _hex(key_id: bytes) -> str:
    """Return the id as minisign prints it."""
    return key_id[::-1].hex().upper()
