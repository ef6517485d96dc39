"""Every released bundle in every export format: written or refused, size, differences, metrics.

    python benchmarks/exporters.py [--data DIR] [--only BUNDLE ...] [--to FORMAT ...] [--json FILE]

Each pair is a `dentalzoo export BUNDLE --to FORMAT --data ...`; the tables show what that measured
and wrote into its metadata, or why it refused. A line of `--json` is a finished pair: what it holds
is not done again. Prints a Markdown table for each bundle; docs/models/ has the results.
"""

import argparse
import csv
import json
import os
import random
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from peers.turns import show

import dentalzoo as dz
from dentalzoo.bundle import convert
from dentalzoo.bundle.metric_bounds import MAIN
from dentalzoo.data.synthetic import write_defect_dataset, write_jaw_scans, write_tooth_photos
from dentalzoo.dispatch import task_of

PRETRAINED = Path(__file__).resolve().parents[1] / "pretrained"
# exporter, and the dtype of weights where it is not float32 -> the first column of the tables
FORMATS = {
    ("saved_model", "float16"): "`saved_model`, float16",
    ("tf_serving",): "`tf_serving`, float32",
    ("onnx",): "`onnx`",
    ("onnx-int8",): "`onnx-int8`",
    ("litert",): "`litert`",
    ("litert-int8",): "`litert-int8`",
}
CALIBRATING = 18  # training images, of onnx-int8
COMPARED = 3  # of them, of the other exporters
HEADS = [
    "exporter", "result", "MB", "largest difference", "pixels or boxes changed", "metric",
    "SavedModel", "export", "time",
]  # fmt: skip


# ---- data that chose nothing, where there are such -----------------------------------------------


class Measured(NamedTuple):
    """What a bundle is measured on.

    Attributes:
        data: annotated data.
        split: of `data`; None for all of it.
        images: how the tables name it.
        training: images of the training data, which calibrate `onnx-int8`, and on which the
            functions are compared; synthetic ones where empty.
    """

    data: Path
    split: str | None
    images: str
    training: list[Path]


def panoramic_teeth(real: Path, _: Path) -> Measured:
    data = real / "panoramic_teeth"
    training = [data / "images" / f"{name}.png" for name in names_of(data, "id", "train")]
    return Measured(data, "val", "the 15 validation radiographs", some(training))


def dental_radiography(real: Path, work: Path) -> Measured:
    """Set 60 radiographs of the training part aside, as the bundle's training did."""
    data = real / "dental_radiography"
    training = names_of(data, "file", "train")
    tested = set(random.Random(0).sample(sorted(training), 60))
    return tested_on(data, work, "file", tested, "the 60 test radiographs")


def dentex_fdi(real: Path, work: Path) -> Measured:
    tested = {"015", "078", "093", "100", "105", "119", "125", "140", "151", "157", "162", "164"}
    return tested_on(real / "dentex_fdi", work, "id", tested, "the 12 test radiographs")


def teeth(_: Path, work: Path) -> Measured:
    count = 40
    data = write_tooth_photos(work / "teeth", count, seed=900_000, size=128)
    training = write_tooth_photos(work / "training_teeth", CALIBRATING, seed=0, size=128)
    files = sorted(training.glob("*.png"))
    return Measured(data, None, f"{count} synthetic photographs, seeds from 900000", files)


def photographs(real: Path, _: Path) -> Measured:
    """Take the validation photographs, of which the bundle's training saw none."""
    data = real / "dentalai_teeth"
    training = [data / "images" / f"{name}.jpg" for name in names_of(data, "id", "train")]
    return Measured(data, "val", "the 300 test photographs", some(training))


def surfaces(_: Path, work: Path) -> Measured:
    kinds = "crack", "double_crack", "branched_crack", "pore", "pores"
    made = [
        write_defect_dataset(work / name, count, seed, val_fraction=0, kinds=kinds)
        for name, count, seed in (("surfaces", 80, 5000), ("training_surfaces", CALIBRATING, 0))
    ]
    files = sorted((made[1] / "images").glob("*.png"))
    return Measured(made[0], None, "80 synthetic surfaces, seeds 5000 to 5079", files)


def scans(real: Path, work: Path) -> Measured:
    count, model = 6, real / "jaw_shape_model" / "upper.npz"
    made = write_jaw_scans(work / "scans", count, 700_000, 0, model if model.is_file() else None)
    crowns = ", crowns of the shape model" if model.is_file() else ""
    return Measured(made, None, f"{count} synthetic scans, seeds from 700000{crowns}", [])


BUNDLES: dict[str, Callable[[Path, Path], Measured]] = {
    "panoramic_unet.panoramic_teeth_v2": panoramic_teeth,
    "panoramic_detection.dental_radiography_v4": dental_radiography,
    "panoramic_detection.dentex_fdi_v2": dentex_fdi,
    "tooth_vae.drawn_teeth_v2": teeth,
    "tooth_vae.dentalai_teeth_v1": photographs,
    "defect_overlay_vae.drawn_defects_v3": surfaces,
    "jaw_reconstruction.drawn_scans_v3": scans,
}
NEED_DATA = {panoramic_teeth, dental_radiography, dentex_fdi, photographs}  # real ones


def names_of(data: Path, key: str, split: str) -> list[str]:
    with (data / "split.csv").open(newline="") as file:
        return [row[key] for row in csv.DictReader(file) if row["split"] == split]


def tested_on(data: Path, work: Path, key: str, tested: set[str], images: str) -> Measured:
    """Return data of the same files, in which the tested ones are the split "test"."""
    folder = work / data.name
    folder.mkdir()
    for entry in data.iterdir():
        if entry.name != "split.csv":
            (folder / entry.name).symlink_to(entry.resolve())
    with (data / "split.csv").open(newline="") as old, (folder / "split.csv").open("w") as new:
        reader = csv.DictReader(old)
        writer = csv.DictWriter(new, reader.fieldnames or [])
        writer.writeheader()
        for row in reader:
            writer.writerow({**row, "split": "test" if row[key] in tested else row["split"]})
    training = {name.partition(".")[0] for name in names_of(folder, key, "train")}
    files = [file for file in sorted((folder / "images").iterdir()) if file.stem in training]
    return Measured(folder, "test", images, some(files))


def some(files: list[Path]) -> list[Path]:
    """Return up to CALIBRATING files, evenly spread."""
    return files[:: max(1, len(files) // CALIBRATING)][:CALIBRATING]


# ---- a pair --------------------------------------------------------------------------------------


def exported(bundle: str, form: tuple[str, ...], data: Measured, out: Path, before: dict) -> dict:
    """Return what `dentalzoo export` writes of a bundle, or why it writes nothing.

    Args:
        before: options of an evaluation -> metrics of the bundle, measured once for all formats.
    """
    calls: list[dict] = []

    def evaluate(measured: dz.Bundle, given: dict) -> dict[str, float]:
        calls.append(given)
        key = json.dumps(given)
        if len(calls) == 1 and key in before:  # the bundle comes before the export
            return before[key]
        report = dz.evaluate(measured, data.data, split=data.split, **given)
        metrics = task_of(measured).summary_metrics(report)
        return before.setdefault(key, metrics) if len(calls) == 1 else metrics

    start = time.perf_counter()
    found = {"bundle": bundle, "exporter": " ".join(form), "images": data.images}
    images = data.training if form[0] == "onnx-int8" else data.training[:COMPARED]
    try:
        convert(PRETRAINED / bundle, out, *form, evaluate=evaluate, images=images)
    except Exception as error:  # a table without one row is better than none
        state = "refused" if isinstance(error, dz.DentalzooError) else "failed"
        if state == "failed":
            traceback.print_exc()
        reason = (str(error).splitlines() or [repr(error)])[0]
        return {**found, "state": state, "reason": reason}
    return {**found, "seconds": round(time.perf_counter() - start), **written(out, "written")}


def shipped(bundle: str, form: tuple[str, ...]) -> dict | None:
    """Return what was measured of the files that a bundle holds; None where that has no metrics."""
    folder = PRETRAINED / bundle / "onnx"
    content = json.loads((folder / "metadata.json").read_text())
    if (content["exporter"],) != form or not content["metrics"]:
        return None
    return {"bundle": bundle, "exporter": form[0], "images": "", **written(folder, "in the bundle")}


def written(folder: Path, state: str) -> dict:
    content = json.loads((folder / "metadata.json").read_text())
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    kept = {key: content[key] for key in ("task", "parity", "metrics", "left_out")}
    return {"state": state, "bytes": size, **kept}


# ---- tables --------------------------------------------------------------------------------------


def row_of(pair: dict) -> list[str]:
    """Return a line of the table, HEADS."""
    first = FORMATS[tuple(pair["exporter"].split())]
    if "parity" not in pair:
        metrics, _, found = pair["reason"].partition("nothing was written. Received: ")
        reason = found or metrics
        return [first, f"{pair['state']}: {reason}", *[""] * (len(HEADS) - 2)]
    parity = {name: row for name, row in pair["parity"].items() if name != "familiarity"}
    values = [
        (each, f"`{name}`: {key}")
        for name, row in parity.items()
        for key, each in row.items()
        if key != "latency_ratio"
    ]
    largest = max(((v["largest"], of) for v, of in values if "largest" in v), default=None)
    changed = max(((v["changed"], of) for v, of in values if "changed" in v), default=None)
    metric = MAIN[pair["task"]]
    before, after = (pair["metrics"][metric][side] for side in ("bundle", "exported"))
    main = next(iter(parity))
    missing = [name for name, why in pair["left_out"].items() if "image files" not in why]
    return [
        first,
        pair["state"]
        + (f", without {', '.join(f'`{name}`' for name in missing)}" if missing else ""),
        f"{pair['bytes'] / 1e6:.1f}",
        f"{largest[0]:.2g} ({largest[1]})" if largest else "",
        f"{100 * changed[0]:.2f} % ({changed[1]})" if changed else "",
        metric,
        *(f"{value:.4f}" for value in (before, after)),
        f"{parity[main]['latency_ratio']:.2f} (`{main}`)",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of the real data; without it the bundles that need none are exported",
    )
    add("--only", nargs="*", default=[""], metavar="BUNDLE", help="beginnings of names of bundles")
    add("--to", nargs="*", choices=[name for name, *_ in FORMATS], help="exporters (default: all)")
    add("--json", type=Path, help="file of the finished pairs, a line each")  # fmt: skip
    options = parser.parse_args()
    lines = options.json.read_text().splitlines() if options.json and options.json.is_file() else []
    pairs = {(pair["bundle"], pair["exporter"]): pair for pair in map(json.loads, lines)}
    formats = [form for form in FORMATS if form[0] in (options.to or form)]
    for bundle, prepare in BUNDLES.items():
        if not bundle.startswith(tuple(options.only)):
            continue
        keys = {(bundle, " ".join(form)): form for form in formats}
        for key, form in keys.items():
            if key not in pairs and (pair := shipped(bundle, form)):
                pairs[key] = pair
        left = {key: form for key, form in keys.items() if key not in pairs}
        if left and prepare in NEED_DATA and not options.data:
            print(f"{bundle} is left out: its data are real, give --data\n")
            continue
        with tempfile.TemporaryDirectory() as folder:
            work, before = Path(folder), {}
            data = prepare(options.data or work, work) if left else None
            for key, form in left.items():
                pairs[key] = exported(bundle, form, data, work / f"out_{form[0]}", before)
                if options.json:
                    with options.json.open("a") as file:
                        file.write(json.dumps(pairs[key]) + "\n")
        images = "; ".join(sorted({pairs[key]["images"] for key in keys} - {""}))
        show(f"`{bundle}`: {images}", HEADS, [row_of(pairs[key]) for key in keys])


if __name__ == "__main__":
    main()
