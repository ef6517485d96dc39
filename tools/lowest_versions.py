#!/usr/bin/env python3
"""Print the oldest declared version of each dependency, as a constraints file for pip.

    python tools/lowest_versions.py >lowest.txt
    python -m pip install --constraint lowest.txt '.[all,dev]'

Every requirement in setup.cfg must have a lower bound, `>=` or `==`. The script needs the standard
library only, so that it runs before anything is installed.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

SETUP_CFG = Path(__file__).resolve().parents[1] / "setup.cfg"
REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*)\s*(?P<extras>\[[^]]*\])?\s*(?P<bounds>[^;]*)(?P<marker>;.*)?"
)
LOWER_BOUND = re.compile(r"(?:>=|==)\s*([\w.!+-]+)")


def requirements(setup_cfg: Path) -> Iterator[str]:
    """Yield every requirement of the package and its extras, one line each."""
    config = ConfigParser()
    if not config.read(setup_cfg):
        raise ValueError(f"the configuration file must exist. Received: {setup_cfg}")
    texts = [config.get("options", "install_requires", fallback="")]
    if config.has_section("options.extras_require"):
        texts += dict(config["options.extras_require"]).values()
    for line in "\n".join(texts).splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()


def constraints(setup_cfg: Path) -> list[str]:
    """Return `name==version` lines, sorted; a package in several extras must have one bound.

    Raises:
        ValueError: a requirement has no lower bound, or a package has two different ones.
    """
    own = ConfigParser()
    own.read(setup_cfg)
    package = own.get("metadata", "name", fallback="")
    lines: dict[str, str] = {}
    for requirement in requirements(setup_cfg):
        match = REQUIREMENT.fullmatch(requirement)
        bounds = LOWER_BOUND.findall(match["bounds"]) if match else []
        name = re.sub(r"[-_.]+", "-", match["name"]).lower() if match else ""
        if name == package:
            continue  # `all` names the other extras
        if not match or len(bounds) != 1:
            raise ValueError(
                f"{setup_cfg.name}: a requirement must have one lower bound, >= or ==. "
                f"Received: {requirement}"
            )
        line = f"{name}=={bounds[0]}" + (f" {match['marker']}" if match["marker"] else "")
        if lines.setdefault(name, line) != line:
            raise ValueError(f"{name} must have the same lower bound everywhere. Received: {line}")
    return sorted(lines.values())


def main(arguments: list[str] | None = None) -> int:
    """Print the constraints; return 2, with one line on standard error, if a bound is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "setup_cfg", type=Path, nargs="?", default=SETUP_CFG, help="default: the repository's"
    )
    try:
        print("\n".join(constraints(parser.parse_args(arguments).setup_cfg)))
    except ValueError as error:
        print(f"lowest_versions: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
