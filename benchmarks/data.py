"""Time and memory of opening annotated data: COCO, PASCAL VOC, YOLO; and of finding duplicates.

    python benchmarks/data.py [--quick] [--folder DIR]

Beside supervision and pycocotools, in an environment of their own. Each measurement is one call in
a new process; the compared readers take turns, round after round, so that other load slows all of
them alike: read the ratios and the growth. benchmarks/README.md describes each row.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from peers import readers
from peers.turns import figures, python_of, show

CLASSES = ("Caries", "Crown", "Filling", "Implant")
HEIGHT, WIDTH = 48, 64
BOXES = 10  # of an image of COCO; 2 of the others
# kind -> annotations of COCO, files of the others
SIZES = {"coco": 20_000, "voc": 5_000, "yolo": 20_000}
NAMES = {"coco": "COCO, {:,} boxes", "voc": "PASCAL VOC, {:,} files", "yolo": "YOLO, {:,} files"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a hundredth of it, once: a trial run")
    parser.add_argument("--folder", type=Path, help="folder of the readers' environment")
    parser.add_argument("--read", nargs=2, metavar=("KIND", "DIR"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        kind, folder = options.read
        from dentalzoo.data.boxes import find_boxes

        readers.measured(lambda: count(find_boxes(folder, val_fraction=0)))
        return
    cache = Path(os.environ.get("DENTALZOO_CACHE", Path.home() / ".cache" / "dentalzoo"))
    peer = readers.environment_of(options.folder or cache / "benchmarks" / "readers")
    print(datetime.date.today(), f"{os.cpu_count()} cores, {platform.python_version()}")
    print(f"load: {os.getloadavg()[1]:.1f} over five minutes, this process included\n")
    with tempfile.TemporaryDirectory() as folder:
        opening(Path(folder), peer, options.quick)
    duplicates(options.quick)


def count(dataset) -> tuple[int, int]:
    return len(dataset), sum(len(sample.boxes) for sample in dataset.samples)


# ---- opening -------------------------------------------------------------------------------------


def opening(root: Path, peer: Path | None, quick: bool) -> None:
    """Print a table for each format, at a quarter of its size and at all of it."""
    for kind, size in SIZES.items():
        sizes = [size // 400, size // 100] if quick else [size // 4, size]
        ways = {"dentalzoo": [sys.executable, __file__, "--read", kind]}
        if peer:
            for reader in ("supervision", *(["pycocotools"] if kind == "coco" else [])):
                ways[reader] = [python_of(peer), "-m", "peers.readers", reader, kind]
        rows = {way: [] for way in ways}
        for number in sizes:
            folder = root / f"{kind}{number}"
            WRITERS[kind](folder, number)
            results = {way: [] for way in ways}
            for _ in range(1 if quick else 3):
                for way, command in ways.items():
                    results[way].append(run([*command, folder]))
            for way, several in results.items():
                assert len({(r["images"], r["boxes"]) for r in several}) == 1
                rows[way].append({k: statistics.median(r[k] for r in several) for k in several[0]})
        table = []
        for way, (small, large) in rows.items():
            ratio = large["processor"] / rows["dentalzoo"][1]["processor"]
            growth = large["processor"] / small["processor"]
            table.append(
                [
                    way,
                    *figures(large["seconds"], large["processor"], ratio, growth),
                    *figures(large["peak"] / 1e6, (large["peak"] - small["peak"]) / 1e6),
                    f"{large['images']:.0f} / {large['boxes']:.0f}",
                ]
            )
        heads = ["", "s", "processor s", "x dentalzoo", "growth at 4 x", "peak MB", "MB more"]
        show(f"#### {NAMES[kind].format(sizes[1])}", [*heads, "images / boxes"], table)


def run(command: list) -> dict[str, float]:
    path = os.pathsep.join(
        [str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    )
    done = subprocess.run(
        list(map(str, command)),
        env={**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def place(folder: Path, number: int) -> list[str]:
    """Put links to one small JPEG into folder/images and return their names without suffix."""
    from PIL import Image

    (folder / "images").mkdir(parents=True)
    first = folder / "first.tmp"
    grey = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH), np.uint8)
    Image.fromarray(grey).convert("RGB").save(first, "JPEG")
    names = [f"{i:06d}" for i in range(number)]
    for name in names:
        os.link(first, folder / "images" / f"{name}.jpg")
    first.unlink()
    return names


def boxes(seed: int, number: int) -> list[tuple[int, int, int, int, int]]:
    """Return (class, left, top, width, height) in pixels, inside the image."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(
        (0, 0, 0, 4, 4), (len(CLASSES), WIDTH - 20, HEIGHT - 20, 20, 20), (number, 5)
    )
    # Where ymax repeats xmin in all objects, VOC files are refused as an error of VoTT.
    rows[:, 4] += rows[:, 2] + rows[:, 4] == rows[:, 1] + 1
    return [tuple(row) for row in rows.tolist()]


def write_coco(folder: Path, annotations: int) -> None:
    names = place(folder, annotations // BOXES)
    size = {"height": HEIGHT, "width": WIDTH}
    images = [{"id": i, "file_name": f"{name}.jpg", **size} for i, name in enumerate(names)]
    entries = []
    for image in images:
        for label, x, y, w, h in boxes(image["id"], BOXES):
            corners = [x, y, x + w, y, x + w, y + h, x, y + h]
            entry = {"id": len(entries) + 1, "image_id": image["id"], "category_id": label + 1}
            entry |= {"bbox": [x, y, w, h], "area": w * h, "iscrowd": 0, "segmentation": [corners]}
            entries.append(entry)
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, 1)]
    content = {"images": images, "annotations": entries, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))


def write_voc(folder: Path, files: int) -> None:
    from dentalzoo.data.formats.voc import object_xml

    (folder / "annotations").mkdir(parents=True)
    for seed, name in enumerate(place(folder, files)):
        objects = [(CLASSES[c], (y, x, y + h, x + w)) for c, x, y, w, h in boxes(seed, 2)]
        xml = object_xml(f"{name}.jpg", (HEIGHT, WIDTH, 3), objects, "benchmark")
        (folder / "annotations" / f"{name}.xml").write_bytes(xml)


def write_yolo(folder: Path, files: int) -> None:
    (folder / "labels").mkdir(parents=True)
    for seed, name in enumerate(place(folder, files)):
        lines = []
        for c, x, y, w, h in boxes(seed, 2):
            parts = ((x + w / 2) / WIDTH, (y + h / 2) / HEIGHT, w / WIDTH, h / HEIGHT)
            lines.append(" ".join([str(c), *(f"{part:.6f}" for part in parts)]))
        (folder / "labels" / f"{name}.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text(f"nc: {len(CLASSES)}\nnames: {list(CLASSES)}\n")


WRITERS = {"coco": write_coco, "voc": write_voc, "yolo": write_yolo}


# ---- duplicates ----------------------------------------------------------------------------------


def duplicates(quick: bool) -> None:
    """Print how the search for nearly alike images grows; the images are decoded and hashed."""
    import cv2

    from dentalzoo.data.near_duplicates import alike_pairs, appearance

    rng = np.random.default_rng(0)
    number = 400 if quick else 10_000
    shown = []
    for _ in range(number):
        coarse = cv2.resize(rng.random((5, 7), np.float32), (96, 64), interpolation=cv2.INTER_CUBIC)
        fine = cv2.GaussianBlur(rng.random((64, 96), np.float32), (0, 0), 2)
        image = cv2.normalize(coarse + 3 * fine, None, 20, 235, cv2.NORM_MINMAX)
        shown.append(appearance(image.astype(np.uint8)))
    rows = []
    for part in (number // 4, number // 2, number):
        start = time.process_time()
        upright, turned = alike_pairs(shown[:part])
        rows.append([f"{part:,}", *figures(time.process_time() - start), len(upright), len(turned)])
    heads = ["images", "processor s", "pairs", "turned pairs"]
    show("#### Nearly alike images", heads, rows)


if __name__ == "__main__":
    main()
