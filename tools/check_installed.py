#!/usr/bin/env python3
"""Check an installed dentalzoo: type marker, command, released bundles, one prediction.

    python -m venv clean
    clean/bin/python -m pip install "$(echo dist/*.whl)[tensorflow]"
    clean/bin/python tools/check_installed.py 0.1.0

PYTHONPATH must be empty, so that the installed package is imported and not that of the checkout.
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOADED = "panoramic_unet.panoramic_teeth_v2"


def run_json(*arguments: str) -> dict:
    """Return what the installed command `dentalzoo ... --json` prints."""
    command = [str(Path(sysconfig.get_path("scripts"), "dentalzoo")), *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def check_files(version: str) -> None:
    """Check where the package lies, its version and the files that are no modules.

    Raises:
        ValueError: a file is missing, the version differs, or the checkout was imported.
    """
    import dentalzoo

    package = Path(dentalzoo.__file__).parent
    if package.is_relative_to(ROOT / "dentalzoo"):
        raise ValueError(f"an installed package must be imported. Received: {package}")
    for received in (dentalzoo.__version__, metadata.version("dentalzoo")):
        if received != version:
            raise ValueError(f"the version must be {version}. Received: {received}")
    listed = metadata.files("dentalzoo") or []
    for name in ("py.typed", "viewer.html"):
        if not any(file.name == name and Path(file.locate()).is_file() for file in listed):
            raise ValueError(f"the wheel must have {name}. Received: no such file")


def check_bundles() -> list[str]:
    """Verify every released bundle that comes with the package, and return their names.

    Raises:
        ValueError: a bundle was not installed.
    """
    import dentalzoo as dz

    installed = Path(sysconfig.get_path("data"), "share", "dentalzoo", "pretrained")
    names = []
    for model in dz.list_models():
        for name, weights in dz.info(model)["pretrained"].items():
            if weights["url"] is None:
                report = run_json("verify", name)
                if Path(report["bundle"]) != installed / name:
                    raise ValueError(f"{name} must be in {installed}. Received: {report['bundle']}")
                print(f"{name}: {report['files']} files, {report['bytes']:,} bytes match")
                names.append(name)
    return names


def check_prediction() -> None:
    """Load a released bundle and segment a black image.

    Raises:
        ValueError: the mask does not have the size of the image.
    """
    import numpy as np

    import dentalzoo as dz

    mask = dz.load(LOADED).serve(np.zeros((96, 160, 1), np.uint8))["mask"]
    if mask.shape != (96, 160, 1) or mask.dtype != np.uint8:
        raise ValueError(
            f"the mask must be uint8 (96, 160, 1). Received: {mask.dtype} {mask.shape}"
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the checks; return 2, with one line on standard error, if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", help="the version that must be installed: X.Y.Z")
    version = parser.parse_args(arguments).version
    for name in ("DENTALZOO_PRETRAINED", "DENTALZOO_CACHE"):
        os.environ.pop(name, None)
    os.environ.update(DENTALZOO_OFFLINE="1", TF_CPP_MIN_LOG_LEVEL="3")
    try:
        check_files(version)
        models = run_json("list")["models"]
        bundles = check_bundles()
        check_prediction()
    except (ValueError, OSError, ImportError, subprocess.CalledProcessError) as error:
        print(f"check_installed: {error}", file=sys.stderr)
        return 2
    print(f"dentalzoo {version}: {len(models)} models, {len(bundles)} bundles")
    return 0


if __name__ == "__main__":
    sys.exit(main())
