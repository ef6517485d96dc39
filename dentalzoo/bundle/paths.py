"""Names of files that come from elsewhere: what may be a path inside of a bundle or an archive."""

import re
from dataclasses import dataclass

from dentalzoo.bundle.schema import UNSAFE, Mismatch

_MAX_BYTES = 255  # of a file name, on Linux, macOS and Windows
_MAX_DEPTH = 32  # folders within each other
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\xb9\xb2\xb3])( *\..*)?")
_FORBIDDEN = re.compile(r'[<>:"|?*\\/\t\n\r]')


def is_safe_name(name: str) -> bool:
    """Return True for the name of a file or folder that every system takes as just that.

    False for separators, `.` and `..`, names of devices (`nul`, `com1.txt`), characters that
    Windows forbids, control characters, an end in a dot or a blank, and more than 255 bytes.
    """
    return not (
        not name
        or name[-1] in ". "
        or _FORBIDDEN.search(name)
        or UNSAFE.search(name)
        or len(name.encode()) > _MAX_BYTES
        or _DEVICE.fullmatch(name.lower())
    )


def is_safe_path(path: str) -> bool:
    """Return True for safe names joined by single slashes: a path that stays below its folder."""
    parts = path.split("/")
    return len(parts) <= _MAX_DEPTH and all(map(is_safe_name, parts))


@dataclass(frozen=True)
class FileName:
    """The kind of safe names of files, see `is_safe_name`, with one of some suffixes."""

    suffixes: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"a file name in {' or '.join(self.suffixes)}, without folders and without what other "
            "systems do not allow in names"
        )

    def check(self, value: object, where: str) -> None:
        if not (
            isinstance(value, str)
            and is_safe_name(value)
            and value.lower().endswith(self.suffixes)
            and value.lower() not in self.suffixes
        ):
            raise Mismatch.of(where, self, value)
