#!/usr/bin/env python3
"""Check that a tag and the files of the repository name one version, and print its release notes.

    python tools/release_notes.py v0.1.0 >notes.md

The tag must be v and the version in dentalzoo/__init__.py. CITATION.cff and the newest dated
section of CHANGELOG.md must have that version and the same date. The section is the notes. The
script needs the standard library only, so that it runs before anything is installed.
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = r"\d+\.\d+\.\d+"


def release_notes(tag: str, root: Path = ROOT) -> str:
    """Return the section of CHANGELOG.md for a tag, without its heading.

    Raises:
        ValueError: the tag is not vX.Y.Z, or a file names another version or date.
    """
    if not re.fullmatch(f"v{VERSION}", tag):
        raise ValueError(f"the tag must be vX.Y.Z. Received: {tag}")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(
        rf"^## \[({VERSION})\] - (\S+)$\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    if not section:
        raise ValueError("CHANGELOG.md must have a section ## [X.Y.Z] - YYYY-MM-DD. Received: none")
    found = {
        "dentalzoo/__init__.py": _value(root, "dentalzoo/__init__.py", r'^__version__ = "(.+)"$'),
        "CITATION.cff": _value(root, "CITATION.cff", r"^version: (.+)$"),
        "CHANGELOG.md": section[1],
    }
    for file, version in found.items():
        if version != tag.removeprefix("v"):
            raise ValueError(f"{file} must have the version of {tag}. Received: {version}")
    date = _value(root, "CITATION.cff", r"^date-released: (.+)$")
    if date != section[2]:
        raise ValueError(f"CITATION.cff must have the date {section[2]}. Received: {date}")
    return section[3].strip() + "\n"


def _value(root: Path, file: str, pattern: str) -> str:
    match = re.search(pattern, (root / file).read_text(encoding="utf-8"), re.MULTILINE)
    return match[1].strip("\"'") if match else "nothing"


def main(arguments: list[str] | None = None) -> int:
    """Print the notes; return 2, with one line on standard error, if something disagrees."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tag", help="the tag of the release: vX.Y.Z")
    try:
        print(release_notes(parser.parse_args(arguments).tag), end="")
    except ValueError as error:
        print(f"release_notes: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
