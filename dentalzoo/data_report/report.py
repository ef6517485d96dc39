"""Check a data set, with a model as a witness, and write what was seen as a page."""

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.atomic import write_atomically, write_json
from dentalzoo.contracts import Report
from dentalzoo.data.io.images import read_image, write_png
from dentalzoo.data_report.contradictions import BoxCritic, MaskCritic
from dentalzoo.data_report.drawing import picture
from dentalzoo.data_report.gallery import Picture, encode
from dentalzoo.data_report.page import Pictures, Tile, page
from dentalzoo.data_report.recorder import PER_CLASS, Recorder
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.output_dirs import whole_folder

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

Watch = Callable[[Any, dict[str, Any]], None]

_PAIRS = 20  # of a list that are shown side by side
_WRITER = "data report"
# Sections of the gallery -> the kind of finding that they show.
_OF_KIND = {
    "finding tiny": "boxes_to_check",
    "finding huge": "boxes_to_check",
    "finding overlapping classes": "boxes_to_check",
    "finding tooth twice": "boxes_to_check",
    "finding other side": "boxes_to_check",
    "finding duplicate": "suspicious",
    "finding specks": "masks_to_check",
    "finding model: no box": "contradictions",
    "finding model: another class": "contradictions",
}
_EXTREMES = {
    "model masks": "The masks that differ most from the model's",
    "areas smallest": "The smallest masks",
    "areas largest": "The largest masks",
}
_CAPTIONS = {
    "image_sizes": "Sizes of images",
    "box_sizes": "Sizes of all boxes",
    "box_sizes_by_class": "Sizes of boxes by class",
    "mask_areas": "Areas of masks",
}


def report_data(
    check: Callable[[Watch], Report],
    data: str | Path,
    out: str | Path | None = None,
    *,
    kind: str = "masks",
    bundle: "Bundle | None" = None,
    per_class: int = PER_CLASS,
    seed: int = 0,
) -> Report:
    """Check a data set and add counts, sizes and what a bundle contradicts; write it as a page.

    Every image is read once, but for the pairs of copies that the page shows.

    Args:
        check: `check_boxes`, `check_folder` or `check_images` of the data; takes what they call
            `watch`. `check_meshes` may leave it alone.
        data: the data folder.
        out: gets `index.html`, its pictures and `report.json`, as a whole or not at all; absent,
            empty, or an older report. None writes nothing.
        kind: "masks", "boxes", "images" or "meshes"; what a bundle is asked about.
        bundle: of the task "detection" for boxes, "segmentation" for masks.
        per_class: how many images of each class are shown.
        seed: of their choice.

    Returns:
        The report of `check` with those of `Recorder.report`. Data that `check` refuses is listed
        as "problems" where a page is asked for. All of it fits into JSON.

    Raises:
        DentalzooError: `data` is no folder, or is refused and no page is asked for; the bundle is
            of another task or has other classes; `out` holds other files, lies in `data` or cannot
            be written.
    """
    data = Path(data)
    if out is not None and data.is_dir() and Path(out).resolve().is_relative_to(data.resolve()):
        raise DentalzooError(
            f"the report must lie outside of the data, so as not to add images. Received: {out}"
        )
    recorder = Recorder(_critic(bundle, kind), draw=out is not None, per_class=per_class, seed=seed)
    if out is None:
        return check(recorder.watch) | recorder.report()
    with whole_folder(out, _WRITER) as folder:
        report: Report = {"date": datetime.date.today().isoformat()}
        try:
            report |= check(recorder.watch)
        except DentalzooError as error:
            if not data.is_dir() or recorder.places:  # no folder, or the bundle's fault
                raise
            report |= {"data": str(data), "problems": [["data", str(error)]]}
        if bundle is not None:
            report["bundle"] = bundle.name
        report |= recorder.report()
        pictures = _write_pictures(folder, recorder, report)
        text = page(report, data.resolve().name, recorder.classes, pictures)
        write_json(folder / "report.json", report)
        write_atomically(folder / "index.html", text.encode(errors="backslashreplace"))
    return report


def _critic(bundle: "Bundle | None", kind: str) -> BoxCritic | MaskCritic | None:
    if bundle is None:
        return None
    if kind not in ("boxes", "masks"):
        raise DentalzooError(
            f"a bundle can be asked about boxes and masks only. Received: {bundle.name} and {kind}"
        )
    return BoxCritic(bundle) if kind == "boxes" else MaskCritic(bundle)


# ---- pictures ------------------------------------------------------------------------------------


def _write_pictures(folder: Path, recorder: Recorder, report: Report) -> Pictures:
    """Write all pictures, under names that hold nothing of the data, and return where they are."""
    pictures = Pictures()
    for name, figure in recorder.figures().items():
        write_png(folder / f"{name}.png", figure)
        pictures.figures.append((f"{name}.png", _CAPTIONS[name]))
    files: dict[tuple[str, str], str] = {}

    def tiles(chosen: Iterable[Picture]) -> list[Tile]:
        made = []
        for one in chosen:
            if one.key not in files:
                files[one.key] = _write(folder, f"image_{len(files) + 1:04}.jpg", one.jpeg)
            made.append(Tile((files[one.key],), one.caption))
        return made

    sections = recorder.gallery.sections()
    order = {f"sample {name}": place for place, name in enumerate(recorder.classes)}
    for section in sorted(sections, key=lambda name: (order.get(name, len(order)), name)):
        if section.startswith("sample "):
            pictures.samples[section.removeprefix("sample ")] = tiles(sections[section])
        elif section == "model masks" and report.get("contradictions"):
            pictures.of_kind["contradictions"] = tiles(sections[section])
        elif section in _EXTREMES:
            pictures.extremes[_EXTREMES[section]] = tiles(sections[section])
        elif report.get(_OF_KIND[section]):
            chosen = sections[section]
            if section.startswith("finding model"):  # ranked by the score, the highest first
                chosen = [one for one in chosen if -one.rank >= report["confident_from"]]
            pictures.of_kind.setdefault(_OF_KIND[section], []).extend(tiles(chosen))
    for key in ("duplicates", "duplicates_within", "patients"):
        pairs = (report.get(key) or [])[:_PAIRS]
        shown = [
            _pair(folder, f"{key}_{index:02}", pair, recorder.places)
            for index, pair in enumerate(pairs, start=1)
        ]
        pictures.of_kind[key] = [tile for tile in shown if tile]
    return pictures


def _pair(
    folder: Path, stem: str, pair: Sequence[str], places: Mapping[str, tuple[Path, Any]]
) -> Tile | None:
    """Write two images; None where one cannot be read any more."""
    one, other, what = pair
    names = []
    for letter, name in (("a", one), ("b", other)):
        path, window = places.get(name, (None, None))
        if path is None:
            return None
        try:
            image: np.ndarray = read_image(path, warn=False)
        except BadFile:
            return None
        if window:
            top, left, bottom, right = window
            image = image[top:bottom, left:right]
        names.append(_write(folder, f"{stem}{letter}.jpg", encode(picture(image))))
    return Tile(tuple(names), f"{one} and {other}: {what}")


def _write(folder: Path, name: str, content: bytes) -> str:
    write_atomically(folder / name, content, durable=False)
    return name
