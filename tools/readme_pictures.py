"""Make the images at the top of README.md: what each released model does with synthetic input.

    python tools/readme_pictures.py    # writes docs/assets/models/*.jpg

No radiograph or photograph of a person is in them, so that they may be shown anywhere.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's log

import numpy as np
from PIL import Image

import dentalzoo as dz
from dentalzoo.data import synthetic
from dentalzoo.data.meshes import find_meshes

OUT = Path(__file__).resolve().parents[1] / "docs" / "assets" / "models"
UNSEEN = 900_000  # the first seed of the synthetic data; no bundle was trained on these
LIMIT = 150_000  # bytes of an image
GAP = 8  # pixels between images that stand side by side


def panoramic_unet(work: Path) -> Image.Image:
    """A radiograph, and the predicted teeth on it."""
    return _on_a_radiograph("panoramic_unet.panoramic_teeth_v2", work)


def panoramic_detection(work: Path) -> Image.Image:
    """A radiograph with the predicted boxes of score 0.3 and more."""
    return _on_a_radiograph("panoramic_detection.dentex_fdi_v2", work, score_threshold=0.3)


def tooth_vae(work: Path) -> Image.Image:
    """Teeth from random codes, none left out."""
    rows, columns = 4, 8
    teeth = dz.load("tooth_vae.drawn_teeth_v2").generate(7, rows * columns)["image"]
    teeth = np.uint8(np.rint(255 * teeth)).reshape(rows, columns, *teeth.shape[1:])
    return Image.fromarray(np.concatenate(np.concatenate(teeth, axis=1), axis=1))


def defect_overlay_vae(work: Path) -> Image.Image:
    """Two surfaces with a defect each, and at the right one with both."""
    kinds = [kind for kind in synthetic.DEFECTS if kind != "border"]
    data = synthetic.write_defect_dataset(work / "surfaces", 4, UNSEEN, val_fraction=0, kinds=kinds)
    files = sorted((data / "images").iterdir())[:2]
    dz.superimpose("defect_overlay_vae.drawn_defects_v2", files, work / "out")
    return _side_by_side([*files, work / "out" / "superimposed.png"], 224)


def jaw_reconstruction(work: Path) -> Image.Image:
    """The ten views of a scan, and the points predicted from them."""
    jaws = synthetic.write_jaw_scans(work / "jaws", 1, UNSEEN, val_fraction=0)
    meshes = [sample.mesh for sample in find_meshes(jaws).samples]
    dz.predict("jaw_reconstruction.drawn_scans_v1", meshes[:1], work / "out")
    figure = Image.open(next((work / "out").glob("*.png"))).convert("RGB")
    return figure.crop((0, 0, figure.width, round(0.497 * figure.height)))  # below: ground truth


PICTURES = (
    panoramic_unet,
    panoramic_detection,
    tooth_vae,
    defect_overlay_vae,
    jaw_reconstruction,
)


def _on_a_radiograph(bundle: str, work: Path, **options: float) -> Image.Image:
    data = synthetic.write_panoramic_dataset(work / "data", 1, UNSEEN, val_fraction=0)
    dz.predict(bundle, data / "images", work / "out", overlay=True, **options)
    return Image.open(next((work / "out").glob("*_overlay.png"))).convert("RGB")


def _side_by_side(files: Sequence[Path], side: int) -> Image.Image:
    sheet = Image.new("RGB", (len(files) * (side + GAP) - GAP, side), "white")
    for i, file in enumerate(files):
        tile = Image.open(file).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        sheet.paste(tile, (i * (side + GAP), 0))
    return sheet


def main() -> int:
    """Write each image; return 2 if one is larger than the limit."""
    OUT.mkdir(parents=True, exist_ok=True)
    chosen = set(sys.argv[1:])
    for make in PICTURES:
        if chosen and make.__name__ not in chosen:
            continue
        with tempfile.TemporaryDirectory() as work:
            image = make(Path(work))
        image.thumbnail((800, 800), Image.Resampling.LANCZOS)
        file = OUT / f"{make.__name__}.jpg"
        image.save(file, quality=85, optimize=True)
        print(file, image.size, file.stat().st_size)
        if file.stat().st_size > LIMIT:
            print(f"{file.name} must have at most {LIMIT} bytes", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
