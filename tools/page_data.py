"""Write what the web page needs: the released bundles, samples, the viewer of jaws.

    python tools/page_data.py

It fills page/public/, which is not kept in the repository; `make page` calls it. ONNX files and
the WebAssembly of ONNX Runtime are compressed here, since plain web servers send files as they
are, and their names have a digest, so that a cache never holds an old one. Samples are synthetic.
"""

import gzip
import hashlib
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from dentalzoo import registry
from dentalzoo.bundle.metadata import read_metadata
from dentalzoo.bundle.reading import find
from dentalzoo.data.io.images import write_png
from dentalzoo.data.meshes import find_meshes
from dentalzoo.data.synthetic import write_defect_dataset, write_jaw_scans, write_panoramic_dataset
from dentalzoo.data.teeth import tooth_numbers
from dentalzoo.data.views import load_views
from dentalzoo.exporters._shared import WEIGHTS, share

ROOT = Path(__file__).resolve().parents[1]
PUBLIC = ROOT / "page" / "public"
RUNTIME = ROOT / "page/node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"
VIEWER = ROOT / "dentalzoo/tasks/reconstruction/viewer.html"
SIGNATURES = {  # what the page calls of the bundles of each task
    "segmentation": ("segment", "familiarity"),
    "detection": ("detect", "familiarity"),
    "generation": ("decode",),
    "superimposition": ("overlay",),
    "reconstruction": ("serve",),
}
RADIOGRAPHS, DEFECTS, SLIDERS = 3, 8, 10
SEEDS = {"radiographs": 10, "defects": 40, "jaw": 5}


def main() -> None:
    """Fill page/public/, which is emptied first.

    Raises:
        SystemExit: a bundle has no ONNX files, or `npm ci` was not run.
    """
    if not RUNTIME.is_file():
        sys.exit(f"{RUNTIME} must be there: run npm ci in page/")
    shutil.rmtree(PUBLIC, ignore_errors=True)
    data = PUBLIC / "data"
    data.mkdir(parents=True)
    shutil.copy(ROOT / "docs/assets/favicon.svg", PUBLIC)
    content = {
        "runtime": packed(RUNTIME, "onnxruntime", "wasm"),
        "bundles": [described(name) for name in bundles()],
        "samples": write_samples(data / "samples"),
        "viewer": write_viewer(data / "viewer"),
    }
    (PUBLIC / "licences.txt").write_text(licences(), encoding="utf-8")
    (data / "page.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def bundles() -> list[str]:
    """Return the released bundles that the page applies: all for detection, else the default."""
    names = []
    for model, entry in registry.ZOO.items():
        tags = list(registry.module_of(model).PRETRAINED)
        names += [f"{model}.{tag}" for tag in (tags if entry.task == "detection" else tags[:1])]
    return sorted(names)


def licences() -> str:
    """Return the licences of the packages that the page is built from."""
    lock = json.loads((ROOT / "page/package-lock.json").read_text(encoding="utf-8"))
    parts = [(ROOT / "LICENSE").read_text(encoding="utf-8")]
    for place, entry in sorted(lock["packages"].items()):
        if not place or entry.get("dev"):
            continue
        folder = ROOT / "page" / place
        about = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        text = "".join(
            file.read_text(encoding="utf-8")
            for file in sorted(folder.iterdir())
            if file.name.upper().startswith(("LICENSE", "LICENCE"))
        )
        source = about.get("repository", "")
        source = source.get("url", "") if isinstance(source, dict) else source
        kind = about.get("license", "unknown")
        parts.append(f"{about['name']} {about['version']}, {kind}, {source}\n\n{text}".strip())
    return f"\n\n{'-' * 80}\n\n".join(parts) + "\n"


def packed(file: Path, name: str, suffix: str) -> str:
    """Compress a file into the folder of the page's data, and return its path below the page."""
    content = gzip.compress(file.read_bytes(), 9, mtime=0)
    digest = hashlib.sha256(content).hexdigest()[:12]
    path = PUBLIC / "data" / f"{name}.{digest}.{suffix}.gz"
    path.write_bytes(content)
    return path.relative_to(PUBLIC).as_posix()


def packed_functions(name: str, files: dict[str, Path]) -> dict[str, Any]:
    """Copy some functions of a bundle, and of its weights those that they share."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for key, file in files.items():
            onnx.save(onnx.load(file), folder / f"{key}.onnx")
        weights = share(folder) / WEIGHTS
        return {
            "files": {
                key: packed(folder / f"{key}.onnx", f"{name}.{key}", "onnx") for key in files
            },
            "weights": packed(weights, f"{name}.weights", "bin") if weights.is_file() else None,
        }


def described(name: str) -> dict[str, Any]:
    """Copy the ONNX files of a released bundle, and return what the page knows of it."""
    folder = find(name)
    metadata = read_metadata(folder)
    files = folder / "onnx"
    if not (files / "interface.json").is_file():
        sys.exit(f"{folder} must hold ONNX files: dentalzoo export {name} --with onnx")
    signatures = json.loads((files / "interface.json").read_text())["signatures"]
    wanted = [key for key in SIGNATURES[metadata["task"]] if key in signatures]
    config = metadata["config"]
    classes = config.get("classes") or []
    noise = signatures.get("generate", {}).get("noise")
    return {
        "id": name,
        "task": metadata["task"],
        "data": metadata["data"].get("name", ""),
        "licence": metadata["data"].get("licence", ""),
        **packed_functions(name, {key: files / signatures[key]["file"] for key in wanted}),
        "classes": classes,
        "teeth": tooth_numbers(classes) is not None,
        "threshold": config.get("operating_threshold"),
        "familiarity": metadata.get("familiarity", {}).get("parts"),
        "latent": noise,
        "sliders": sliders(files / signatures["decode"]["file"], noise) if noise else [],
    }


def sliders(decode: Path, size: int) -> list[int]:
    """Return the values of a latent vector that change the image most, the most effective first."""
    session = onnxruntime.InferenceSession(decode, providers=["CPUExecutionProvider"])
    steps = 2 * np.eye(size, dtype=np.float32)
    up, down = (session.run(["image"], {"z": z})[0] for z in (steps, -steps))
    effect = np.abs(up - down).mean((1, 2, 3))
    return [int(index) for index in np.argsort(-effect)[:SLIDERS]]


def write_samples(folder: Path) -> dict[str, list[str]]:
    """Write synthetic samples, and return their paths below the page by kind."""
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        radiographs = write_panoramic_dataset(
            base / "radiographs", RADIOGRAPHS, SEEDS["radiographs"], 640, 1280
        )
        defects = write_defect_dataset(base / "defects", DEFECTS, SEEDS["defects"])
        scans = write_jaw_scans(base / "scans", 1, SEEDS["jaw"])
        views = load_views(find_meshes(scans).samples[0], 128)["views"]
        folder.mkdir()
        for kind, source in (("radiograph", radiographs), ("defect", defects)):
            for number, path in enumerate(sorted((source / "images").glob("*.png")), 1):
                shutil.copy(path, folder / f"{kind}_{number}.png")
        for number, view in enumerate(views):
            write_png(folder / f"view_{number}.png", view)
    return {
        kind: [path.relative_to(PUBLIC).as_posix() for path in sorted(folder.glob(f"{kind}_*"))]
        for kind in ("radiograph", "defect", "view")
    }


def write_viewer(folder: Path) -> dict[str, str]:
    """Write script and style of the jaw's viewer as files, which the page's policy asks for.

    Returns:
        The paths of "script" and "style" below the page, and "body", the template without them.
    """
    text = VIEWER.read_text(encoding="utf-8")
    folder.mkdir()
    paths = {}
    for key, pattern, suffix in (
        ("style", r"<style>(.*?)</style>", "css"),
        ("script", r"<script>(.*?)</script>", "js"),
    ):
        content = re.findall(pattern, text, re.DOTALL)
        if len(content) != 1:
            sys.exit(f"{VIEWER} must have one {key}. Received: {len(content)}")
        digest = hashlib.sha256(content[0].encode()).hexdigest()[:12]
        path = folder / f"viewer.{digest}.{suffix}"
        path.write_text(content[0].strip() + "\n", encoding="utf-8")
        paths[key] = path.relative_to(PUBLIC).as_posix()
    body = re.search(r"<body>(.*?)<script", text, re.DOTALL)
    if body is None:
        sys.exit(f"{VIEWER} must have a body before its scripts")
    return {**paths, "body": body[1].strip()}


if __name__ == "__main__":
    main()
