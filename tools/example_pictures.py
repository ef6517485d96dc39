"""Run the guided scripts of examples/ in their quick form, and keep the images that they write.

    python tools/example_pictures.py    # `make docs` does; the site shows what is in out/examples

A script runs again when it, dentalzoo or the dependencies in setup.cfg have changed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "out" / "examples"
LEAST = 256  # pixels of the longer side on a page
# script -> section -> (image in the folder that the script writes, what it shows)
PICTURES = {
    "panoramic_unet": {
        "Curves": [("tiny/curves.png", "loss and metrics of each epoch")],
        "Metrics": [("evaluation/evaluation.png", "the best, the median and the worst radiograph")],
        "Masks": [("masks/0008_overlay.png", "the predicted mask on a radiograph")],
    },
    "panoramic_detection": {
        "Curves": [("tiny/curves.png", "loss of each epoch")],
        "Metrics": [
            ("evaluation/precision_recall.png", "precision over recall of each class"),
            ("evaluation/froc.png", "recall over false positives per radiograph"),
            ("evaluation/worst.png", "the radiographs with the most errors"),
        ],
        "Other thresholds": [("sweep/sweep.png", "F1 over the settings of suppression")],
    },
    "tooth_vae": {
        "Curves": [("deep/curves.png", "the parts of the loss of each epoch")],
        "Metrics": [
            ("evaluation/reconstructions.png", "photographs, and what their codes decode to"),
            ("evaluation/interpolation.png", "from one photograph to another"),
        ],
        "New teeth": [("teeth/samples.png", "24 new teeth")],
    },
    "defect_overlay_vae": {
        "Curves": [("robust/curves.png", "the parts of the loss of each epoch")],
        "Metrics": [
            ("evaluation/superimposed.png", "the best, the median and the worst sets"),
            ("evaluation/scan.png", "decoded points between two codes"),
        ],
        "One superimposed image": [
            ("superimposed/superimposed.png", "two defects in one image"),
            ("superimposed/superimposed_mask.png", "their masks"),
        ],
    },
    "jaw_reconstruction": {
        "Training": [("morphable/curves.png", "loss and distances of each epoch")],
        "Metrics": [("evaluation/evaluation.png", "jaws, predictions, and distances in mm")],
        "From views to meshes": [("predicted/0017_upper.png", "a jaw from its ten views")],
    },
}


def current(name: str) -> Path | None:
    """Return the folder of the images of a script, None where they are missing or outdated."""
    folder = KEPT / name
    key = folder / "key"
    return folder if key.is_file() and key.read_text() == _key(name) else None


def run(name: str) -> Path:
    """Run a script where its images are not current; return their folder.

    Raises:
        RuntimeError: the script failed, or did not write an image.
    """
    folder = current(name)
    if folder is not None:
        return folder
    with tempfile.TemporaryDirectory() as work:
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / f"{name}.py")],
            cwd=work,
            env={**os.environ, "DENTALZOO_QUICK": "1", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"examples/{name}.py must succeed. Received: {done.stderr[-2000:]}")
        folder = KEPT / name
        shutil.rmtree(folder, ignore_errors=True)
        for picture in pictures(name):
            source = Path(work) / "out" / name / picture
            if not source.is_file():
                raise RuntimeError(f"examples/{name}.py must write {picture}")
            (folder / picture).parent.mkdir(parents=True, exist_ok=True)
            enlarged(source).save(folder / picture)
    (folder / "key").write_text(_key(name))  # last: without it there are no images
    return folder


def enlarged(source: Path) -> Image.Image:
    """Return an image, a small one with pixels that can be seen."""
    with Image.open(source) as image:
        factor = max(1, LEAST // max(image.size))
        return image.resize([side * factor for side in image.size], Image.Resampling.NEAREST)


def pictures(name: str) -> list[str]:
    """Return the images of a script, relative to the folder that it writes."""
    return [picture for shown in PICTURES[name].values() for picture, _ in shown]


def _key(name: str) -> str:
    """Return the SHA-256 of all that the images of a script depend on."""
    files = [*sorted((ROOT / "dentalzoo").rglob("*.py")), ROOT / "setup.cfg", Path(__file__)]
    total = hashlib.sha256()
    for path in (ROOT / "examples" / f"{name}.py", *files):
        total.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def main() -> int:
    """Run each script whose images are not current; return 2 if one fails."""
    for name in PICTURES:
        try:
            print(run(name))
        except RuntimeError as error:
            print(f"example_pictures: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
