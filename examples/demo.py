"""Apply the released models to synthetic images: no data and no network access are needed.

    python examples/demo.py                # or `make demo`; under a minute on two CPU cores
    python examples/demo.py --count 12 --out out/demo

Each paper is one function that writes to a folder and returns a `Section`; the page
`out/demo/index.html` shows the sections one after the other.
"""

import argparse
import csv
import html
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's log

import numpy as np

import dentalzoo as dz
from dentalzoo.atomic import write_atomically
from dentalzoo.data.boxes import find_boxes, load_boxes
from dentalzoo.data.images import find_images, load_image
from dentalzoo.data.io.images import read_image, write_png
from dentalzoo.data.masks import find_masks, load
from dentalzoo.data.meshes import find_meshes
from dentalzoo.data.synthetic import (
    DEFECTS,
    write_defect_dataset,
    write_jaw_scans,
    write_panoramic_dataset,
    write_tooth_photos,
)
from dentalzoo.plots.contact_sheet import side_by_side
from dentalzoo.plots.pixels import as_pixels, fit
from dentalzoo.tasks.detection.drawing import overlay as draw_boxes
from dentalzoo.tasks.segmentation import drawing
from dentalzoo.tasks.superimposition.scores import BACKGROUND, HALO, VISIBLE, grown

UNSEEN = 900_000  # the first seed of the synthetic data below; no bundle was trained on these
# Classes of the synthetic radiographs, and what the detector calls them.
DETECTED = {"restoration": "Fillings", "crown": "Fillings", "implant": "Implant"}


@dataclass(frozen=True)
class Figure:
    """An image of the page: its file and its caption."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Section:
    """The results of one paper.

    Attributes:
        title: its heading.
        text: paragraphs, plain text.
        table: rows of cells, the first one the heading.
        images: for each row its heading and the images beside each other.
        files: other results, as links.
        summed: the last row of the table summarises the others.
    """

    title: str
    text: Sequence[str]
    table: Sequence[Sequence[str]]
    images: Sequence[tuple[str, Sequence[Figure]]]
    files: Sequence[Figure] = ()
    summed: bool = True


def panoramic_segmentation(folder: Path, count: int) -> Section:
    """Segment the teeth on panoramic radiographs with `panoramic_unet`."""
    bundle = dz.load("panoramic_unet.panoramic_teeth_v2")
    data = write_panoramic_dataset(folder / "teeth", count, val_fraction=0)
    radiographs = find_masks(data).samples
    out = folder / "panoramic_unet"
    dz.predict(bundle, [radiograph.image for radiograph in radiographs], out, overlay=True)
    report = dz.evaluate(bundle, data, out=out)

    bundle.serve(read_image(radiographs[0].image))  # the first call is not measured: it is slow
    table, images = [("radiograph", "Dice", "IoU", "ms")], []
    for radiograph, row in zip(radiographs, report["per_image"], strict=True):
        arrays = load(radiograph)
        start = time.perf_counter()
        mask = bundle.serve(arrays["image"])["mask"]
        seconds = time.perf_counter() - start
        outlines = out / f"{radiograph.name}_outlines.png"
        write_png(outlines, drawing.outlines(arrays["image"], arrays["mask"], mask))
        table.append((radiograph.name, *_scores(row), f"{1000 * seconds:.0f}"))
        images.append(
            (
                f"Radiograph {radiograph.name}: Dice {row['dice']:.3f}",
                [
                    Figure(radiograph.image, "the radiograph"),
                    Figure(out / f"{radiograph.name}_overlay.png", "the teeth, as predicted"),
                    Figure(outlines, "outlines: ground truth blue, prediction orange"),
                ],
            )
        )
    table.append(("mean", *_scores(report["mean"]), ""))
    return Section(
        title="Teeth on panoramic radiographs",
        text=[
            f"{_about(bundle)} It was trained on synthetic radiographs, then on real ones. These "
            "are new synthetic ones, so the exact masks are known.",
            "The metrics below show that it works, not how well it works on real radiographs; "
            "docs/models/panoramic_unet.md reports that.",
            *_unfamiliar(out),
        ],
        table=table,
        images=images,
        files=[
            Figure(out / "evaluation.png", "best, median and worst radiograph in one figure"),
            Figure(out / "evaluation.json", "all metrics"),
        ],
    )


def radiograph_detection(folder: Path, count: int) -> Section:
    """Detect findings on panoramic radiographs with `panoramic_detection`."""
    bundle = dz.load("panoramic_detection.dental_radiography_v4")
    data = write_panoramic_dataset(folder / "radiographs", count, seed=UNSEEN, val_fraction=0)
    radiographs = find_boxes(data, classes=list(DETECTED)).samples
    out = folder / "panoramic_detection"
    dz.predict(bundle, [radiograph.image for radiograph in radiographs], out, overlay=True)
    found = read_boxes(out / "detections.csv")

    table, images = [("radiograph", *DETECTED, "boxes")], []
    totals = np.zeros((len(DETECTED), 2), int)
    for radiograph in radiographs:
        arrays = load_boxes(radiograph, list(DETECTED))
        annotated = out / f"{radiograph.name}_annotated.png"
        image, labels, boxes = arrays["image"], arrays["labels"], arrays["boxes"]
        write_png(annotated, draw_boxes(image, boxes, labels, list(DETECTED)))
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2 * image.shape[:2]
        rows = found.get(radiograph.image.name, [])
        hits = np.zeros((len(DETECTED), 2), int)
        for (y, x), label in zip(middles, labels, strict=True):
            wanted = tuple(DETECTED.values())[label - 1]
            hits[label - 1] += (any(row.holds(wanted, x, y) for row in rows), 1)
        totals += hits
        table.append((radiograph.name, *_shares(hits), str(len(rows))))
        images.append(
            (
                f"Radiograph {radiograph.name}: {len(rows)} boxes",
                [
                    Figure(annotated, "what was drawn"),
                    Figure(out / f"{radiograph.name}_overlay.png", "as predicted, with scores"),
                ],
            )
        )
    table.append(("all", *_shares(totals), str(sum(map(len, found.values())))))
    return Section(
        title="Fillings, implants, cavities and impacted teeth",
        text=[
            f"{_about(bundle)} It was trained on real radiographs, which may not be shown here; "
            "these are synthetic ones, which it never saw. Its boxes span whole teeth, as those it "
            "learned from do: a finding counts as found if its middle lies in a box of its class.",
            "Many teeth with root canal treatment were labelled as implants in its training data, "
            "so it calls them so. Its metrics on real radiographs are in "
            "docs/models/panoramic_detection.md.",
            *_unfamiliar(out),
        ],
        table=table,
        images=images,
        files=[
            Figure(out / "detections.json", "all boxes"),
            Figure(out / "detections.csv", "the same as a table"),
        ],
    )


class Box(NamedTuple):
    """A row of detections.csv, in pixels."""

    name: str
    left: float
    top: float
    right: float
    bottom: float

    def holds(self, name: str, x: float, y: float) -> bool:
        """Return whether it is of a class, and the point lies in it."""
        inside = self.left <= x <= self.right and self.top <= y <= self.bottom
        return inside and self.name == name


def read_boxes(table: Path) -> dict[str, list[Box]]:
    """Return the boxes of each image of detections.csv."""
    found: dict[str, list[Box]] = {}
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["class"]:
                sides = (float(row[side]) for side in ("left", "top", "right", "bottom"))
                found.setdefault(row["file"], []).append(Box(row["class"], *sides))
    return found


def _shares(hits: np.ndarray) -> list[str]:
    return [f"{found} of {there}" for found, there in hits]


def tooth_generation(folder: Path, count: int) -> Section:
    """Generate new teeth, and encode and decode synthetic photographs, with `tooth_vae`."""
    bundle = dz.load("tooth_vae.drawn_teeth_v2")
    photos, number = folder / "photos", 10 * count
    write_tooth_photos(photos, number, seed=UNSEEN, split="test")
    out = folder / "tooth_vae"
    dz.generate(bundle, out / "teeth", count=8 * count, seed=1)
    report = dz.evaluate(bundle, photos, split="test", out=out, samples=5, count=number)

    def value(key: str, digits: int) -> str:
        return f"{numbers[key]:.{digits}f}" if key in numbers else "too few images"

    numbers = dz.api.summary_metrics(bundle, report)
    table = [
        ("metric", "value", "reference"),
        ("photographs", str(report["images"]), f"{report['generated']} new teeth"),
        ("PSNR of the reconstructions", value("psnr", 1), "dB"),
        ("SSIM of the reconstructions", value("ssim", 3), "1: the photograph itself"),
        ("log-likelihood, bound", value("elbo", 0), f"{value('iwae_5', 0)} with five samples"),
        ("KL divergence of the codes", value("kl", 1), "nats per photograph"),
        ("latent units in use", value("active_units", 0), f"of {len(report['kl_per_unit'])}"),
        ("KID, new teeth to photographs", value("kid", 3), f"{value('kid_floor', 3)} in halves"),
        ("Fréchet distance", value("frechet", 3), f"{value('frechet_floor', 3)} in halves"),
    ]
    return Section(
        title="New teeth",
        text=[
            f"{_about(bundle)} It was trained on synthetic photographs of teeth. The new teeth are "
            "decoded from random codes: they show the teeth of no person.",
            f"The metrics are those of {report['images']} unseen synthetic photographs. KID and "
            "the Fréchet distance compare hand-crafted features of new teeth with those of the "
            "photographs, and in halves, one half of the photographs with the other; for so few "
            "images they are rough. docs/models/tooth_vae.md has them for many.",
        ],
        table=table,
        images=[
            (
                "Teeth from codes alone",
                [
                    Figure(out / "teeth" / "samples.png", "random codes, none left out"),
                    Figure(out / "interpolation.png", "codes between those of photographs"),
                ],
            ),
            (
                "Photographs that it was not trained on",
                [
                    Figure(out / "reconstructions.png", "photographs above, decoded below"),
                    Figure(out / "latent.png", "photographs arranged by their codes"),
                ],
            ),
        ],
        files=[
            Figure(out / "manifold.png", "two latent units from low to high"),
            Figure(out / "kl_per_unit.png", "KL divergence of each latent unit"),
            Figure(out / "evaluation.json", "all metrics"),
        ],
        summed=False,
    )


def defect_superimposition(folder: Path, count: int) -> Section:
    """Show several defects in one image with `defect_overlay_vae`."""
    bundle = dz.load("defect_overlay_vae.drawn_defects_v3")
    kinds = [kind for kind in DEFECTS if kind != "border"]
    surfaces = folder / "surfaces"
    write_defect_dataset(surfaces, 4 * count, UNSEEN, val_fraction=0, kinds=kinds)
    out = folder / "defect_overlay_vae"
    report = dz.evaluate(bundle, surfaces, out=out, count=2 * count)

    samples = {sample.name: sample for sample in find_images(surfaces).samples}
    table = [("sources", "contrast recovered", "background error", "all visible")]
    shown = {2: ("Pairs", []), 3: ("Triples", [])}
    for number, row in enumerate(report["superimposition"]["per_set"]):
        score = row["bundle"]
        recovered = ", ".join(f"{part:.2f}" for part in score["recovered"])
        success = "yes" if score["success"] else "no"
        error = f"{score['background_error']:.3f}"
        table.append((" + ".join(row["sources"]), recovered, error, success))
        if number < count:
            path = out / f"superimposed_{number:02d}.png"
            chosen = [samples[name] for name in row["sources"]]
            write_png(path, _beside_its_sources(bundle, chosen))
            caption = " + ".join(f"{sample.label} {sample.name}" for sample in chosen)
            caption = f"{caption.replace('_', ' ')}; all visible: {success} ({recovered})"
            shown[len(chosen)][1].append(Figure(path, caption))
    own, plain = (report["superimposition"]["methods"][key]["all"] for key in ("bundle", "sum"))
    medians = (f"{own[key + '_median']:.{n}f}" for key, n in _MEDIANS.items())
    table.append(("median", *medians, f"{own['success'] * own['sets']:.0f} of {own['sets']}"))
    return Section(
        title="Several defects in one image",
        text=[
            f"{_about(bundle)} It was trained on synthetic surfaces with cracks and pores. Random "
            "pairs and triples of unseen surfaces are superimposed; the first of them are shown.",
            f"A defect is visible if {VISIBLE:.0%} of its contrast is kept; all are visible if "
            f"their surroundings take over at most {HALO:.0%} of it, and the background is kept, "
            f"with an error of at most {BACKGROUND:g} of the grey range. The sum of the codes "
            "alone, as in the paper, shows all defects in "
            f"{plain['success']:.0%} of these sets, with the same network.",
        ],
        table=table,
        images=[
            (f"{kind}: the outlined defects and, at the right, the superimposed image", images)
            for kind, images in shown.values()
            if images
        ],
        files=[
            Figure(out / "superimposed.png", "best, median and worst beside simpler methods"),
            Figure(out / "scan.png", "decoded points between two surfaces"),
            Figure(out / "latent.png", "the codes of the surfaces"),
            Figure(out / "evaluation.json", "all metrics"),
        ],
    )


def jaws_in_3d(folder: Path, count: int) -> Section:
    """Reconstruct upper jaws from ten views of them with `jaw_reconstruction`."""
    bundle = dz.load("jaw_reconstruction.drawn_scans_v3")
    jaws = write_jaw_scans(folder / "jaws", -(-count // 2), UNSEEN, val_fraction=0)
    samples = find_meshes(jaws).samples
    out = folder / "jaw_reconstruction"
    dz.predict(bundle, [sample.mesh for sample in samples], out)
    report = dz.evaluate(bundle, jaws, out=out)

    table, images, viewers = [("jaw", *_JAW_COLUMNS)], [], []
    for sample, row in zip(samples, report["per_jaw"], strict=True):
        stem = sample.mesh.stem
        number = stem.split("_")[1]
        errors = _jaw_errors(row["scores"])
        table.append((number, *errors, f"{row['residual']:.1f}"))
        caption = "the ten views, and the points predicted from them beside the ground truth"
        figure = Figure(out / f"{stem}.png", caption)
        images.append((f"Jaw {number}: mean error {errors[2]} mm", [figure]))
        viewers.append(Figure(out / f"{stem}.html", f"jaw {number} in 3-D"))
    confidence = report["confidence"]
    table.append(("mean", *_jaw_errors(report["mean"]), f"{confidence['mean']:.1f}"))
    return Section(
        title="Upper jaws in 3-D",
        text=[
            f"{_about(bundle)} It was trained on synthetic scans: jaws with gum that ends "
            "anywhere, gaps and holes. These are new ones, so their surface is known.",
            "Precision is the part of the predicted points within 1.4 mm of the ground truth, the "
            "paper's threshold, and recall the part of the ground-truth points within 1.4 mm of "
            "the prediction. Accuracy is the mean distance from the prediction to the ground "
            "truth, completeness that from the ground truth to the prediction; no camera sees all "
            "of a jaw. The residual is how far the result, rendered, differs from the views, in "
            f"grey values: above {confidence['bound']:.1f} it is not to be trusted, which needs no "
            "ground truth.",
        ],
        table=table,
        images=images,
        files=[
            *viewers,
            Figure(out / "evaluation.png", "best, median and worst jaw in one figure"),
            Figure(out / "evaluation.json", "all metrics"),
        ],
    )


SECTIONS = (
    panoramic_segmentation,
    radiograph_detection,
    tooth_generation,
    defect_superimposition,
    jaws_in_3d,
)
_JAW_COLUMNS = ("precision", "recall", "accuracy, mm", "completeness, mm", "residual")
_MEDIANS = {"recovered": 2, "background_error": 3}  # digits
_TILE = (224, 224)  # pixels of a source and of a superimposed image


def _about(bundle) -> str:
    summary = dz.info(bundle.metadata["name"])["summary"]
    return f"{summary[0].upper()}{summary[1:]}; the bundle is {bundle.name}."


def _unfamiliar(out: Path) -> list[str]:
    """Say of which images `predict` warned, and why of the first; nothing where of none."""
    table = out / "familiarity.json"
    rows = json.loads(table.read_text(encoding="utf-8")) if table.exists() else []
    warned = [row for row in rows if row["reasons"]]
    if not warned:
        return []
    first = warned[0]
    return [
        f"The bundle knows what it was trained on, and warned of {len(warned)} of {len(rows)} of "
        f"these radiographs before anyone could trust its result: {first['file']} is "
        f"{first['verdict']} to it, by {'; '.join(first['reasons'])} (familiarity.json)."
    ]


def _beside_its_sources(bundle, samples) -> np.ndarray:
    """Return the sources, outlined a pixel outside their masks, and the superimposed image."""
    config = bundle.metadata["config"]
    size, channels = config["input_size"], config["channels"]
    sources = [load_image(sample, size, channels) for sample in samples]
    images = np.stack([source["image"] for source in sources])
    superimposed = bundle.overlay(images, np.ones(len(images), np.float32))["image"]
    tiles = []
    for colour, source in enumerate(sources, 1):
        around = grown(source["mask"][..., 0], 1)  # so that the outline hides no thin crack
        mask = fit(np.uint8(colour * around), _TILE, ids=True)
        tiles.append(drawing.overlay(fit(source["image"], _TILE), mask, opacity=0))
    tiles.append(drawing.overlay(fit(as_pixels(superimposed), _TILE), np.zeros_like(mask)))
    return side_by_side(*tiles)


def _jaw_errors(scores: dict) -> tuple[str, ...]:
    paper = scores["at"][0]
    errors = (f"{scores[key]['mean']:.2f}" for key in ("pred_to_gt", "gt_to_pred"))
    return f"{paper['precision']:.3f}", f"{paper['recall']:.3f}", *errors


def _scores(row: dict[str, float]) -> tuple[str, str]:
    return f"{row['dice']:.3f}", f"{row['iou']:.3f}"


# ---------------------------------------------------------------------------------------- the page

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>dentalzoo: demo</title>
<style>
:root {{ color-scheme: light dark; --ink: #1d232b; --soft: #59636e; --paper: #fff;
  --card: #f4f6f8; --line: #d5dbe1; --link: #0a5ea8; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e8ecf0; --soft: #a3adb8;
  --paper: #14181d; --card: #1e242b; --line: #38414b; --link: #7cbcf5; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; max-width: 100rem; padding: 1.5rem clamp(1rem, 4vw, 3rem) 3rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }}
h1 {{ margin: 0; font-size: 1.9rem; }}
h2 {{ margin: 2.5rem 0 .5rem; font-size: 1.45rem; }}
h3 {{ margin: 0 0 .6rem; font-size: 1.05rem; }}
p {{ max-width: 46rem; margin: .5rem 0; }}
a {{ color: var(--link); }}
.notice {{ border-left: 4px solid #e69f00; padding-left: .8rem; }}
table {{ border-collapse: collapse; margin: 1.2rem 0; font-variant-numeric: tabular-nums;
  display: block; max-width: 100%; overflow-x: auto; }}
th, td {{ padding: .3rem 1.1rem; text-align: right; border-bottom: 1px solid var(--line); }}
@media (max-width: 40rem) {{ th, td {{ padding: .3rem .5rem; }} }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }}
th {{ color: var(--soft); font-weight: 600; }}
.summed tr:last-child td {{ font-weight: 600; }}
article {{ margin: 1.2rem 0; padding: 1rem; border-radius: .6rem; background: var(--card); }}
.row {{ display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); }}
figure {{ margin: 0; }}
img {{ display: block; width: 100%; height: auto; border-radius: .3rem; background: #000; }}
figcaption, footer {{ color: var(--soft); font-size: .92rem; margin-top: .35rem; }}
</style>
<h1>dentalzoo</h1>
<p>The released models, applied to synthetic images that were generated for this page.</p>
<p class="notice">For research. Not a medical device, not for diagnosis.</p>
{sections}
<footer>dentalzoo {version}. Made by examples/demo.py; this page loads nothing from the network.
</footer>
</html>
"""


def write_page(path: Path, sections: Sequence[Section]) -> None:
    """Write the sections as one HTML page; images are linked relative to it."""
    body = "\n".join(_section(section, path.parent) for section in sections)
    write_atomically(path, _PAGE.format(sections=body, version=html.escape(dz.__version__)))


def _section(section: Section, folder: Path) -> str:
    def link(image: Figure) -> str:
        return quote(image.path.relative_to(folder).as_posix())

    def figure(image: Figure) -> str:
        caption = html.escape(image.caption)
        return (
            f'<figure><a href="{link(image)}"><img src="{link(image)}" alt="{caption}"></a>'
            f"<figcaption>{caption}</figcaption></figure>"
        )

    def row(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

    paragraphs = "\n".join(f"<p>{html.escape(text)}</p>" for text in section.text)
    table = "\n".join(row(cells, "td" if i else "th") for i, cells in enumerate(section.table))
    articles = "\n".join(
        f"<article><h3>{html.escape(heading)}</h3>\n"
        f'<div class="row">{"".join(figure(image) for image in images)}</div></article>'
        for heading, images in section.images
    )
    files = ", ".join(
        f'<a href="{link(file)}">{html.escape(file.caption)}</a>' for file in section.files
    )
    kind = ' class="summed"' if section.summed else ""
    return (
        f"<section>\n<h2>{html.escape(section.title)}</h2>\n{paragraphs}\n<table{kind}>\n{table}\n"
        f"</table>\n{articles}\n{f'<p>More: {files}</p>' if files else ''}\n</section>"
    )


def _columns(table: Sequence[Sequence[str]]) -> str:
    """Return a table as lines of text, the first column aligned to the left."""
    first, *widths = (max(map(len, column)) for column in zip(*table, strict=True))
    lines = []
    for name, *rest in table:
        cells = (f"{cell:>{max(8, width)}}" for cell, width in zip(rest, widths, strict=True))
        lines.append(" ".join([f"  {name:{max(10, first)}}", *cells]))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the images and the page; return 0, or 2 after one line with the error."""
    parser = argparse.ArgumentParser(description="Apply the released models to synthetic images.")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder of the page")
    count = 2 if "DENTALZOO_QUICK" in os.environ else 6
    text = (
        "number of radiographs; ten times as many photographs, twice as many superimposed images "
        f"and half as many jaws are made (default {count})"
    )
    parser.add_argument("--count", type=int, default=count, help=text)
    options = parser.parse_args(arguments)
    sections = []
    try:
        for make in SECTIONS:
            section = make(options.out, options.count)
            sections.append(section)
            print(f"{section.title}\n\n{_columns(section.table)}\n")
        page = options.out / "index.html"
        write_page(page, sections)
    except dz.DentalzooError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    print(f"The page: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
