"""The format of SHA256SUMS, that of coreutils in its plainest form, read strictly.

A line is 64 hexadecimal digits in lower case, two blanks, the path below the bundle with `/`, and a
line feed. Whatever changes one of these, such as an editor or git, changes the file's own SHA-256.
"""

import re
from pathlib import Path

from dentalzoo.bundle.paths import is_safe_path
from dentalzoo.bundle.schema import shown
from dentalzoo.errors import BadFile

_LINE = re.compile(r"([0-9a-f]{64})  (.+)", re.DOTALL)
_MAX_BYTES = 1 << 22  # room for 40,000 files


def read_sums(file: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that a SHA256SUMS lists, by its path below the bundle.

    Raises:
        BadFile: it cannot be read, is not of the format, lists a file twice, or names one that does
            not lie below the bundle.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise BadFile(file, f"cannot be read. Received: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadFile(file, "must be text in UTF-8. Received: other bytes") from None
    if len(content) > _MAX_BYTES:
        raise BadFile(file, f"must have at most {_MAX_BYTES} bytes. Received: more")
    if "\r" in text:
        raise BadFile(
            file,
            "lines must end in a line feed alone; copy the file again as binary data. "
            "Received: carriage returns",
        )
    if not text.endswith("\n"):
        raise BadFile(file, "must end in a line feed; it is incomplete. Received: no line feed")
    listed: dict[str, str] = {}
    for number, line in enumerate(text[:-1].split("\n"), start=1):
        match = _LINE.fullmatch(line)
        if not match:
            raise BadFile(
                file,
                f"line {number} must be a SHA-256 in lower case, two blanks and a path. "
                f"Received: {shown(line)}",
            )
        digest, name = match.groups()
        if not is_safe_path(name):
            raise BadFile(
                file, f"line {number} must name a file below the bundle. Received: {shown(name)}"
            )
        if name in listed:
            raise BadFile(file, f"each file must be listed once. Received: {shown(name)} twice")
        listed[name] = digest
    return listed
