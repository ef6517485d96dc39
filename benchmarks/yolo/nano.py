"""YOLO11n in an environment of its own, which has no dentalzoo: makes, exports and serves it.

    python nano.py export FOLDER
    python nano.py serve FOLDER PICTURE.npy THREADS CANDIDATES

The architecture is that of the package `ultralytics`; its weights are random.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

import numpy as np

SIZE, CLASSES = 640, 4
NMS_IOU, MOST = 0.7, 300  # ultralytics' own, of `predict`

SERVING = ["numpy", "onnxruntime==1.32.0", "opencv-python-headless"]
EXPORT = ["torch==2.13.0", "onnx==1.23.2", "pillow", "pyyaml", "requests", "psutil", "matplotlib"]
ALONE = ["torchvision==0.28.0", "ultralytics==8.4.190"]  # without what they would bring
ONCE = ["torch", "torchvision", "ultralytics", "sympy", "networkx", "matplotlib", "fonttools"]


def folder_of(folder: Path) -> Path | None:
    """A folder with the network as ONNX and an environment to run it in; made where it is not."""
    if (folder / "yolo11n.json").is_file():
        return folder
    own = {"YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"}
    python, start = python_of(folder), time.perf_counter()
    pip = [python, "-m", "pip", "--quiet", "--no-input", "--retries", "1"]
    try:
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        for command in (
            [*pip, "install", *SERVING, *EXPORT],
            [*pip, "install", "--no-deps", *ALONE],
            [python, __file__, "export", folder],
            [*pip, "uninstall", "--yes", *ONCE],
        ):
            options = {"check": True, "capture_output": True, "text": True, "timeout": 600}
            subprocess.run(command, cwd=folder, env={**os.environ, **own}, **options)
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        print(f"No YOLO to compare with, its environment cannot be made: {said}\n")
        return None
    print(f"The YOLO's environment was made in {time.perf_counter() - start:.0f} s: {folder}\n")
    return folder


def python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def export(folder: Path) -> None:
    """Writes FOLDER/yolo11n.onnx, and then FOLDER/yolo11n.json with the number of parameters."""
    import torch
    from ultralytics import YOLO
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    yolo = YOLO("yolo11n.yaml")
    model = DetectionModel("yolo11n.yaml", nc=CLASSES, verbose=False)
    model.args, model.task, yolo.model = yolo.model.args, yolo.model.task, model
    for layer in model.modules():  # so that scores differ, which they do not at first
        if isinstance(layer, torch.nn.Conv2d) and layer.weight.requires_grad:
            torch.nn.init.kaiming_normal_(layer.weight)
        elif isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        grey = [torch.rand(2, 1, side, side) for side in (5, 20, 80, SIZE)]
        grey = [torch.nn.functional.interpolate(part, SIZE, mode="bilinear") for part in grey]
        model.train()(torch.cat(grey).expand(-1, 3, -1, -1))  # what the norms need
    parameters = sum(p.numel() for p in model.parameters())
    made = yolo.export(format="onnx", imgsz=SIZE, opset=17, simplify=False)
    Path(made).replace(folder / "yolo11n.onnx")
    (folder / "yolo11n.json").write_text(json.dumps({"parameters": parameters}))


def serve(folder: Path, image: np.ndarray, threads: int, candidates: int) -> None:
    """Letterbox, network and suppression of the best `candidates` boxes, at each line read."""
    import cv2
    import onnxruntime

    cv2.setNumThreads(threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that wait in a loop take the processors of others where machines are shared.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        folder / "yolo11n.onnx", options, providers=["CPUExecutionProvider"]
    )
    height, width = image.shape[:2]
    scale = SIZE / max(height, width)
    rows, columns = round(height * scale), round(width * scale)
    top, left = (SIZE - rows) // 2, (SIZE - columns) // 2

    def network():
        small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
        bottom, right = SIZE - rows - top, SIZE - columns - left
        grey = (114, 114, 114)
        small = cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_CONSTANT, value=grey)
        batch = np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
        return session.run(None, {"images": batch})[0][0]  # (4 + C, A)

    threshold = float(np.sort(network()[4:].max(0))[-candidates - 1])

    def detect():
        found = network()
        best = found[4:].max(0)
        chosen = np.flatnonzero(best > threshold)
        scores, labels = best[chosen], found[4:, chosen].argmax(0)
        boxes = found[:4, chosen].T  # centre and size
        boxes[:, :2] -= boxes[:, 2:] / 2
        kept = cv2.dnn.NMSBoxesBatched(boxes, scores, labels, threshold, NMS_IOU)
        kept = np.asarray(kept, int)[:MOST]
        boxes = boxes[kept]
        boxes[:, 2:] += boxes[:, :2]
        boxes = np.clip((boxes - (left, top) * 2) / scale, 0, (width, height) * 2)
        return boxes, scores[kept], labels[kept], len(chosen)

    answer(detect, {"candidates": detect()[-1]})


def answer(call, facts: dict) -> None:
    """Prints `facts`; then at each line read the seconds of some calls, at the end the peak memory.

    A call has the seconds that pass and those that processors work. The first call of a turn is
    not counted: another process had the caches before it.
    """
    call()
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(1 + int(line)):
            start, used = time.perf_counter(), time.process_time()
            call()
            seconds.append((time.perf_counter() - start, time.process_time() - used))
        print(json.dumps(seconds[1:]), flush=True)
    # Not ru_maxrss: a child process starts with its parent's.
    status = Path("/proc/self/status")
    found = status.read_text().split("VmHWM:")[1].split()[0] if status.is_file() else "nan"
    print(json.dumps(float(found) * 1024), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(Path(sys.argv[2]))
    else:
        serve(Path(sys.argv[2]), np.load(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
