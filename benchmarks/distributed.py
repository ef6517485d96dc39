"""Speed and result of a short training of each model, on one device, on two, and in two processes.

    python benchmarks/distributed.py [--epochs N] [--only MODEL ...] [--out DIR]

The two devices are logical ones of this machine's CPU: no speed-up is to be expected. The same
batches are trained on each time. benchmarks/README.md describes the columns.
"""

import argparse
import json
import logging
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import dentalzoo as dz
from dentalzoo.data import synthetic

BATCH = 4
FIRST_PORT = (
    30000  # Linux gives 32768 and above to outgoing connections; the tests use 10000 to 29999
)
VAL = {"val_fraction": 0.25}
# Model -> function that writes its data, and settings of the variant tiny.
MODELS = {
    "tooth_vae": (lambda out: synthetic.write_tooth_photos(out, 48, size=32), VAL),
    "defect_overlay_vae": (
        lambda out: synthetic.write_defect_dataset(out, 48, size=16),
        {**VAL, "copies": 1, "stratified": False},
    ),
    "panoramic_detection": (
        lambda out: synthetic.write_panoramic_dataset(
            out, 12, 0, 64, 128, val_fraction=0.34, restored=0.5
        ),
        {},
    ),
    "panoramic_unet": (
        lambda out: synthetic.write_panoramic_dataset(out, 16, 0, 64, 128, val_fraction=0.25),
        {},
    ),
    "jaw_reconstruction": (lambda out: synthetic.write_jaw_dataset(out, 8), {}),
}
SETUPS = {"one device": "default", "two devices": "mirrored", "two processes": "multi_worker"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3, help="epochs of each training (default 3)")
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks/distributed"))
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        train_all(options)
        return
    for name in options.only:
        if not (options.out / "data" / name).exists():
            MODELS[name][0](options.out / "data" / name)
    rows: dict[str, list[str]] = {name: [] for name in options.only}
    for setup in SETUPS:
        print(f"{setup}: load of the machine {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
        for name, row in run(setup, options).items():
            rows[name] += [f"{row['speed']:.1f}", f"{row['loss']:.4f}"]
    heads = [f"{setup}: {column}" for setup in SETUPS for column in ("images/s", "val loss")]
    print(f"| model | {' | '.join(heads)} |\n| --- |{' ---: |' * len(heads)}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(row)} |")


def run(setup: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Train all models in one process, or in two, and return what the first one measured."""
    count = 2 if setup == "two processes" else 1
    workers = ",".join(f"127.0.0.1:{port}" for port in free_ports(count))
    command = [sys.executable, __file__, "--epochs", str(options.epochs), "--out", options.out]
    command += ["--only", *options.only]
    children = [
        subprocess.Popen(
            [*command, "--child", setup, str(index), workers],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for index in range(count)
    ]
    texts = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        raise SystemExit(f"{setup}: a process failed:\n{''.join(texts)}")
    return json.loads(texts[0].splitlines()[-1])


def free_ports(count: int) -> list[int]:
    """Return ports that are free now, below those that outgoing connections are given."""
    ports: list[int] = []
    for port in range(FIRST_PORT, FIRST_PORT + 1000):
        if len(ports) == count:
            break
        try:
            socket.create_server(("", port)).close()
        except OSError:
            continue
        ports.append(port)
    return ports


def train_all(options: argparse.Namespace) -> None:
    """Train every model in this process; print speed and loss of the last epoch as JSON."""
    setup, index, workers = options.child
    if setup == "two devices":
        import tensorflow as tf

        half = tf.config.LogicalDeviceConfiguration()
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [half, half])
    cluster = {"workers": workers, "index": int(index)} if setup == "two processes" else {}
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logging.getLogger("dentalzoo").setLevel(logging.INFO)
    logging.getLogger("dentalzoo").addHandler(Keep())
    result = {}
    for name in options.only:
        settings = MODELS[name][1]
        out = options.out / setup.replace(" ", "_") / name
        settings = {**settings, "epochs": options.epochs, "batch_size": BATCH}
        settings |= {"strategy": SETUPS[setup], **cluster}
        try:
            dz.train(name, options.out / "data" / name, out, "tiny", **settings)
        except dz.DentalzooError as error:
            print(error)
            raise SystemExit(1) from None
        if int(index) == 0:
            last = [line for line in lines if line.startswith("epoch ") and "images/s" in line][-1]
            speed = float(re.search(r"([\d.]+) images/s", last)[1])
            loss = float(re.search(r"val_loss (\S+)", last)[1])
            result[name] = {"speed": speed, "loss": loss}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
