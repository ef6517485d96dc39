"""YOLO11n in a separate environment without dentalzoo: build, export and serve it.

    python -m peers.yolo export FOLDER SIDE
    python -m peers.yolo serve FOLDER IMAGE.npy THREADS CANDIDATES

The architecture is that of the package `ultralytics`; its weights are random.
"""

import json
import sys
from pathlib import Path

import numpy as np
from peers import turns

SIZE, CLASSES = 640, 4
NMS_IOU, MAX_BOXES = 0.7, 300  # the defaults of `predict` of ultralytics

SERVING = ["numpy", "onnxruntime==1.32.0", "opencv-python-headless"]
EXPORT = ["torch==2.13.0", "onnx==1.23.2", "pillow", "pyyaml", "requests", "psutil", "matplotlib"]
ALONE = ["torchvision==0.28.0", "ultralytics==8.4.190"]  # without their dependencies
REMOVED = ["torch", "torchvision", "ultralytics", "sympy", "networkx", "matplotlib", "fonttools"]


def folder_of(folder: Path, side: int = SIZE) -> Path | None:
    """Return the folder with the network as ONNX and an environment to run it, made once.

    Args:
        folder: the folder, of one side.
        side: of the square images that the network reads.
    """
    own = {"YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"}
    commands = [
        turns.pip("install", *SERVING, *EXPORT),
        turns.pip("install", "--no-deps", *ALONE),
        ["-m", "peers.yolo", "export", folder, str(side)],
        turns.pip("uninstall", "--yes", *REMOVED),
    ]
    return turns.environment(folder, "YOLO11n", "yolo11n.json", commands, own)


def export(folder: Path, size: int) -> None:
    """Write FOLDER/yolo11n.onnx, then FOLDER/yolo11n.json with the number of parameters."""
    import torch
    from ultralytics import YOLO
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    yolo = YOLO("yolo11n.yaml")
    model = DetectionModel("yolo11n.yaml", nc=CLASSES, verbose=False)
    model.args, model.task, yolo.model = yolo.model.args, yolo.model.task, model
    for layer in model.modules():  # with the initial weights, all scores are alike
        if isinstance(layer, torch.nn.Conv2d) and layer.weight.requires_grad:
            torch.nn.init.kaiming_normal_(layer.weight)
        elif isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        grey = [torch.rand(2, 1, side, side) for side in (5, 20, 80, size)]
        grey = [torch.nn.functional.interpolate(part, size, mode="bilinear") for part in grey]
        model.train()(torch.cat(grey).expand(-1, 3, -1, -1))  # for the statistics of the norms
    parameters = sum(p.numel() for p in model.parameters())
    made = yolo.export(format="onnx", imgsz=size, opset=17, simplify=False)
    Path(made).replace(folder / "yolo11n.onnx")
    (folder / "yolo11n.json").write_text(json.dumps({"parameters": parameters}))


def serve(folder: Path, image: np.ndarray, threads: int, candidates: int) -> None:
    """Letterbox, run and suppress the best `candidates` boxes, for each line read."""
    import cv2
    import onnxruntime

    cv2.setNumThreads(threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Spinning threads take the processors of other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        folder / "yolo11n.onnx", options, providers=["CPUExecutionProvider"]
    )
    height, width = image.shape[:2]
    size = session.get_inputs()[0].shape[2]
    scale = size / max(height, width)
    rows, columns = round(height * scale), round(width * scale)
    top, left = (size - rows) // 2, (size - columns) // 2

    def network():
        small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
        bottom, right = size - rows - top, size - columns - left
        grey = (114, 114, 114)
        small = cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_CONSTANT, value=grey)
        batch = np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
        return session.run(None, {"images": batch})[0][0]  # (4 + C, A)

    threshold = float(np.sort(network()[4:].max(0))[-candidates - 1])

    def detect():
        output = network()
        best = output[4:].max(0)
        chosen = np.flatnonzero(best > threshold)
        scores, labels = best[chosen], output[4:, chosen].argmax(0)
        boxes = output[:4, chosen].T  # centre and size
        boxes[:, :2] -= boxes[:, 2:] / 2
        kept = cv2.dnn.NMSBoxesBatched(boxes, scores, labels, threshold, NMS_IOU)
        kept = np.asarray(kept, int)[:MAX_BOXES]
        boxes = boxes[kept]
        boxes[:, 2:] += boxes[:, :2]
        boxes = np.clip((boxes - (left, top) * 2) / scale, 0, (width, height) * 2)
        return boxes, scores[kept], labels[kept], len(chosen)

    turns.answer(detect, {"candidates": detect()[-1]})


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        serve(Path(sys.argv[2]), np.load(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
