#!/usr/bin/env python3
"""Check an install without TensorFlow on bundles that hold files for ONNX Runtime.

    python tools/check_light.py --write light    # with the extra onnx: writes the bundles
    python tools/check_light.py light            # pip install 'dentalzoo[runtime]': applies them

The bundles are of the smallest variants, with random weights. The second command also runs where
the first cannot, on Windows and macOS.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

NAMES = (
    "panoramic_unet",
    "panoramic_detection",
    "tooth_vae",
    "defect_overlay_vae",
    "jaw_reconstruction",
)
# panoramic_detection is written by its extra alone
EXTRAS = {"panoramic_unet": "segmentation_models", "panoramic_detection": "official"}
SEED, COUNT = 7, 3


def write(folder: Path) -> None:
    """Write a bundle of each model that can be built here, and what TensorFlow generates."""
    import numpy as np

    import dentalzoo as dz
    from dentalzoo.bundle import add_runtime

    for name in NAMES:
        if find_spec(EXTRAS.get(name, "tensorflow")) is None:
            print(f"{name}: left out; it needs dentalzoo[{name}]")
            continue
        path = folder / name
        add_runtime(dz.export(dz.build(name, "tiny"), path, name), "onnx")
        if name == "tooth_vae":
            images = dz.load(path, "tensorflow").generate(SEED, COUNT)["image"]
            np.save(folder / "generated.npy", images)
        print(f"{name}: written")


def check(folder: Path, work: Path) -> int:
    """Apply each bundle of a folder, and return their number.

    Raises:
        ValueError: TensorFlow is installed, there is no bundle, or a result is missing or wrong.
    """
    import numpy as np

    import dentalzoo as dz
    from dentalzoo.data.io.images import write_png

    for module in ("tensorflow", "keras"):
        if find_spec(module) is not None:
            raise ValueError(
                f"{module} must not be installed. Received: {find_spec(module).origin}"
            )
    random = np.random.default_rng(0)
    for number in range(10):
        image = random.integers(64, 256, (48, 48), np.uint8)
        image[np.hypot(*np.mgrid[-23.5:24, -23.5:24]) > 16] = 0  # as views of a ball on black
        write_png(work / "images" / f"{number}.png", image)
    paths = [folder / name for name in NAMES if (folder / name).is_dir()]
    for path in paths:
        run("verify", path)
        out = work / path.name
        overlay = () if path.name == "jaw_reconstruction" else ("--overlay",)
        run("predict", path, work / "images", "--out", out, *overlay)
        files = sorted(file.name for file in out.iterdir() if not file.name.startswith("."))
        if overlay and "0_overlay.png" not in files or not files:
            raise ValueError(f"{path.name} must write overlays. Received: {files}")
        print(f"{path.name}: {len(files)} files, {dz.load(path)}")
        if path.name == "tooth_vae":
            check_generated(path, folder)
            run("generate", path, "--count", COUNT, "--out", work / "generated")
        if path.name == "defect_overlay_vae":
            images = [work / "images" / f"{number}.png" for number in range(2)]
            run("superimpose", path, *images, "--out", work / "superimposed")
    if not paths:
        raise ValueError(f"{folder} must hold bundles. Received: none")
    return len(paths)


def check_generated(path: Path, folder: Path) -> None:
    """Compare generated images with those of TensorFlow.

    Raises:
        ValueError: they differ by more than 1e-4.
    """
    import numpy as np

    import dentalzoo as dz

    expected = np.load(folder / "generated.npy")
    received = dz.load(path).generate(SEED, COUNT)["image"]
    difference = float(np.abs(expected - received).max())
    if not difference <= 1e-4:
        raise ValueError(f"a seed must give the images of TensorFlow. Received: {difference} away")
    print(f"{path.name}: generated images differ from TensorFlow's by {difference:.1e}")


def run(*words: object) -> None:
    """Run `dentalzoo WORDS`."""
    command = [sys.executable, "-m", "dentalzoo", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main(arguments: list[str] | None = None) -> int:
    """Run the checks; return 2, with one line on standard error, if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the bundles")
    parser.add_argument("--write", action="store_true", help="write the bundles instead")
    options = parser.parse_args(arguments)
    try:
        if options.write:
            write(options.folder)
            return 0
        with tempfile.TemporaryDirectory() as work:
            count = check(options.folder, Path(work))
    except (ValueError, OSError, ImportError, subprocess.CalledProcessError) as error:
        print(f"check_light: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"bundles": count, "platform": sys.platform}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
