"""`dentalzoo doctor`: what is installed here, what is missing, and the command that mends it.

Packages are looked up, not imported, so that the command takes a second and works where an import
fails. Nothing is downloaded and nothing is changed.
"""

import ctypes.util
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dentalzoo as dz
from dentalzoo.bundle.hub.folders import cache_dir, folders, is_bundle

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PYTHON = ((3, 11), (3, 13))  # the oldest and the newest that the tests run with; setup.cfg
GIVES = {
    "tensorflow": "training, export, and bundles that hold a SavedModel alone",
    "runtime": "bundles that hold files for ONNX Runtime",
    "panoramic-unet": "training of panoramic_unet",
    "panoramic-detection": "training of panoramic_detection",
    "jaw-reconstruction": "meshes of jaws and rendered views",
    "tfds": "data sets as TensorFlow Datasets",
    "dicom": "DICOM images, and results as DICOM",
    "onnx": "export to ONNX",
    "litert": "export to LiteRT, and running what was exported",
    "beam": "predict, evaluate and tfrecord on Apache Beam",
    "remote": "images and bundles in object stores",
    "hub": "uploads of bundles to the Hugging Face Hub",
    "sign": "signatures of bundles",
    "serve": "bundles applied over HTTP",
    "completion": "completion of commands in a shell",
    "docs": "the site of the documentation",
    "dev": "tests, style and types",
}
# Libraries of the system that Open3D is linked against, and the Debian packages that have them.
_OPEN3D = {
    "EGL": "libegl1",
    "GL": "libgl1",
    "idn2": "libidn2-0",
    "udev": "libudev1",
    "usb-1.0": "libusb-1.0-0",
    "X11": "libx11-6",
}
_APART = ("beam", "docs", "dev")  # not in the extra `all`: beam needs older packages
_VARIABLES = ("KERAS_BACKEND", "TF_USE_LEGACY_KERAS", "CUDA_VISIBLE_DEVICES")
_HOURGLASS = 10  # seconds that the driver of a GPU may take to answer


def do_doctor(options: Namespace) -> int:
    report = examine()
    print(json.dumps(report, indent=2) if options.json else as_text(report))
    return 1 if any(fault["required"] for fault in report["faults"]) else 0


def examine() -> dict[str, Any]:
    """Describe this installation and this machine.

    Returns:
        Plain values, ready for JSON: "versions", "packages" (what dentalzoo always needs),
        "extras", "devices", "folders" (bytes used and free), "bundles" (name -> folder),
        "variables" of the environment that are set, and "faults", each with "what", "command",
        which mends it, and "required", True where dentalzoo as a whole does not work.
    """
    declared = _declared()
    packages = [_package(one) for one in declared.get("", [])]
    extras = {name: _extra(name, declared[name]) for name in GIVES if name in declared}
    report: dict[str, Any] = {
        "versions": {
            "dentalzoo": dz.__version__,
            "python": platform.python_version(),
            "system": platform.platform(),
            "tensorflow": _version("tensorflow"),
            "keras": _version("keras"),
        },
        "packages": packages,
        "extras": extras,
        "devices": {"processors": _processors(), "memory": _memory(), "gpus": _gpus()},
        "folders": _folders(),
        "bundles": _bundles(),
        "variables": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith("DENTALZOO_") or name in _VARIABLES
        },
    }
    return {**report, "faults": list(_faults(report))}


def as_text(report: dict[str, Any]) -> str:
    """Return a report of `examine` as lines for a terminal."""
    lines = [f"{key:11} {value or 'not installed'}" for key, value in report["versions"].items()]
    devices = report["devices"]
    lines += [
        f"{'processors':11} {devices['processors']}",
        f"{'memory':11} {_size(devices['memory']) if devices['memory'] else 'not known'}",
        f"{'GPUs':11} {', '.join(devices['gpus']) or 'none'}",
        "",
        "extras",
    ]
    for name, extra in report["extras"].items():
        state = "missing " + ", ".join(extra["missing"]) if extra["missing"] else "installed"
        lines.append(f"  {name:20} {extra['gives']}: {state}")
    lines += ["", "folders"]
    for name, folder in report["folders"].items():
        used = "" if folder["used"] is None else f"{_size(folder['used'])} used, "
        lines.append(f"  {name:20} {folder['path']}: {used}{_size(folder['free'])} free")
    lines += ["", "released bundles here"]
    lines += [f"  {name:42} {path}" for name, path in report["bundles"].items()] or ["  none"]
    if report["variables"]:
        lines += ["", "variables"]
        lines += [f"  {name}={value}" for name, value in report["variables"].items()]
    lines += ["", "nothing is wrong" if not report["faults"] else "to mend"]
    lines += [f"  {fault['what']}: {fault['command']}" for fault in report["faults"]]
    missing = [
        name for name, extra in report["extras"].items() if extra["missing"] and name not in _APART
    ]
    if missing:
        lines.append(f"  to add what is missing: {_install(missing)}")
    return "\n".join(lines)


# ---- packages ------------------------------------------------------------------------------------


def _declared() -> dict[str, list["Requirement"]]:
    """Return the requirements of dentalzoo for this Python by extra, "" for the common ones.

    An extra that consists of others has theirs. Without an installation, nothing is declared.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    try:
        about = importlib.metadata.metadata("dentalzoo")
    except importlib.metadata.PackageNotFoundError:
        return {}
    lines = list(map(Requirement, about.get_all("Requires-Dist") or []))
    always = [one for one in lines if _holds(one, "")]
    of_extras = [one for one in lines if not _holds(one, "")]
    own: dict[str, list[Requirement]] = {
        canonicalize_name(extra): [one for one in of_extras if _holds(one, extra)]
        for extra in about.get_all("Provides-Extra") or []
    }
    return {"": always, **{extra: list(_expanded(extra, own)) for extra in own}}


def _holds(one: "Requirement", extra: str) -> bool:
    return one.marker is None or one.marker.evaluate({"extra": extra})


def _expanded(extra: str, own: Mapping[str, Sequence["Requirement"]]) -> Iterator["Requirement"]:
    from packaging.utils import canonicalize_name

    for one in own[extra]:
        if one.name == "dentalzoo":
            for other in sorted(one.extras):
                yield from _expanded(canonicalize_name(other), own)
        else:
            yield one


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package(one: "Requirement") -> dict[str, Any]:
    installed = _version(one.name)
    fits = installed is not None and one.specifier.contains(installed, prereleases=True)
    return {
        "name": one.name,
        "wanted": str(one.specifier),
        "installed": installed,
        "fits": fits,
    }


def _extra(name: str, requirements: Iterable["Requirement"]) -> dict[str, Any]:
    lacking = [one for one in map(_package, requirements) if not one["fits"]]
    return {
        "gives": GIVES[name],
        "missing": sorted({_described(one) for one in lacking}),
        "command": _install([name]),
    }


def _described(package: dict[str, Any]) -> str:
    found = package["installed"]
    return package["name"] + (f" {package['wanted']} (is {found})" if found else "")


def _install(extras: Iterable[str]) -> str:
    return f"pip install 'dentalzoo[{','.join(extras)}]'"


# ---- the machine ---------------------------------------------------------------------------------


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):  # those that a scheduler gives this process
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> int | None:
    """Return the bytes of memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _gpus() -> list[str]:
    """Return the names of NVIDIA's GPUs, as their driver states them."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        done = subprocess.run(
            [program, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=_HOURGLASS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


def _folders() -> dict[str, dict[str, Any]]:
    """Return the caches and other folders that are written to, with their bytes."""
    keras = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    measured = {"bundles (cache)": cache_dir(), "ImageNet weights": keras}
    others = {"this folder": Path.cwd(), "temporary files": Path(tempfile.gettempdir())}
    return {
        name: {
            "path": _shown(path),
            "used": _used(path) if name in measured else None,
            "free": _free(path),
            "writable": _writable(path),
        }
        for name, path in {**measured, **others}.items()
    }


def _existing(path: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next((one for one in (path, *path.absolute().parents) if one.exists()), Path("/"))


def _used(path: Path) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:  # removed meanwhile
                continue
    return total


def _free(path: Path) -> int:
    return shutil.disk_usage(_existing(path)).free


def _writable(path: Path) -> bool:
    return os.access(_existing(path), os.W_OK)


def _bundles() -> dict[str, str]:
    """Return the folder of each bundle that a name finds here, the one that would be loaded."""
    found: dict[str, str] = {}
    for folder in folders():
        names = sorted(folder.iterdir()) if folder.is_dir() else []
        for path in names:
            if is_bundle(path):
                found.setdefault(path.name, _shown(path))
    return found


def _shown(path: Path) -> str:
    """Return a path without the name of the user."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


# ---- faults --------------------------------------------------------------------------------------


def _faults(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    def fault(what: str, command: str, required: bool = False) -> dict[str, Any]:
        return {"what": what, "command": command, "required": required}

    oldest, newest = PYTHON
    if not oldest <= sys.version_info[:2] <= newest:
        yield fault(
            f"Python {report['versions']['python']} is not one of 3.{oldest[1]} to 3.{newest[1]}",
            f"make an environment with python3.{oldest[1]} and install dentalzoo there",
            required=True,
        )
    if not report["packages"]:
        yield fault("dentalzoo is not installed", "pip install .", required=True)
    lacking = [one for one in report["packages"] if not one["fits"]]
    if lacking:
        wanted = " ".join(f"'{one['name']}{one['wanted']}'" for one in lacking)
        yield fault(
            f"needed: {', '.join(map(_described, lacking))}", f"pip install {wanted}", required=True
        )
    for name, extra in report["extras"].items():
        wrong = [one for one in extra["missing"] if "(is " in one]
        if wrong:
            yield fault(f"for {name}: {', '.join(wrong)}", extra["command"])
    if _version("opencv-python") and _version("opencv-python-headless"):
        yield fault(
            "opencv-python and opencv-python-headless overwrite each other",
            "pip uninstall --yes opencv-python opencv-python-headless && "
            "pip install 'opencv-python-headless>=4.12,<6'",
        )
    cuda = any(map(_version, ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13")))
    if report["versions"]["tensorflow"] and report["devices"]["gpus"] and not cuda:
        yield fault(
            "there is a GPU, but TensorFlow may lack NVIDIA's libraries",
            "pip install 'tensorflow[and-cuda]>=2.20,<2.21'",
        )
    if sys.platform == "linux" and any(map(_version, ("open3d", "open3d-cpu"))):
        missing = [name for key, name in _OPEN3D.items() if ctypes.util.find_library(key) is None]
        if missing:
            yield fault(
                "Open3D needs libraries of the system",
                f"apt-get install {' '.join(missing)} (Debian, Ubuntu)",
            )
    for name, folder in report["folders"].items():
        if name != "this folder" and not folder["writable"]:
            yield fault(
                f"{name}: {folder['path']} cannot be written",
                f"chmod u+w {folder['path']}"
                + (", or name another with DENTALZOO_CACHE" if "bundles" in name else ""),
            )
