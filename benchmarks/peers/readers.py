"""Readers of annotations in a separate environment without dentalzoo: supervision, pycocotools.

python -m peers.readers supervision|pycocotools coco|voc|yolo FOLDER
"""

import json
import sys
import time
from pathlib import Path

from peers import turns

PACKAGES = ["supervision==0.31.2", "pycocotools==2.0.11"]


def environment_of(folder: Path) -> Path | None:
    """Return an environment with both readers, made once."""
    return turns.environment(
        folder, "supervision and pycocotools", "ready", [turns.pip("install", *PACKAGES)]
    )


def measured(read) -> None:
    """Call `read` once and print what it took, and the images and boxes that it returns."""
    start, used = time.perf_counter(), time.process_time()
    images, boxes = read()
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    status = Path("/proc/self/status")
    peak = status.read_text().split("VmHWM:")[1].split()[0] if status.is_file() else "nan"
    shown = {"seconds": seconds, "processor": processor, "peak": float(peak) * 1024}
    print(json.dumps(shown | {"images": images, "boxes": boxes}))


def with_supervision(kind: str, folder: Path) -> tuple[int, int]:
    import supervision

    images = str(folder / "images")
    if kind == "coco":
        found = supervision.DetectionDataset.from_coco(images, str(folder / "instances.json"))
    elif kind == "voc":
        found = supervision.DetectionDataset.from_pascal_voc(images, str(folder / "annotations"))
    else:
        found = supervision.DetectionDataset.from_yolo(
            images, str(folder / "labels"), str(folder / "data.yaml")
        )
    return len(found), sum(len(one) for one in found.annotations.values())


def with_pycocotools(kind: str, folder: Path) -> tuple[int, int]:
    from pycocotools.coco import COCO

    coco = COCO(str(folder / "instances.json"))
    sys.stdout.flush()
    return len(coco.imgs), len(coco.anns)


if __name__ == "__main__":
    _, reader, kind, folder = sys.argv
    function = {"supervision": with_supervision, "pycocotools": with_pycocotools}[reader]
    __import__(reader)  # its import is not what is measured
    measured(lambda: function(kind, Path(folder)))
