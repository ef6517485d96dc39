"""One image with the defects of several given images."""

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.atomic import write_json
from dentalzoo.data.formats.pairing import pair_folders
from dentalzoo.data.formats.tree import scan
from dentalzoo.data.images import ImageSample
from dentalzoo.data.io.images import write_png
from dentalzoo.data.io.listing import list_images
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.output_dirs import make_folder, whole_folder
from dentalzoo.plots.pixels import as_pixels
from dentalzoo.tasks.autoencoders import image_shape
from dentalzoo.tasks.base import PredictionReport
from dentalzoo.tasks.options import SuperimposeOptions
from dentalzoo.tasks.superimposition import drawing
from dentalzoo.tasks.superimposition.methods import check_weights
from dentalzoo.tasks.superimposition.scores import Scorer
from dentalzoo.tasks.superimposition.sources import Source, grey, load_source, masks_of, stacked

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_log = logging.getLogger("dentalzoo")
_IMAGES = re.compile(r"(.*[ _-])?(images?|imgs?)", re.IGNORECASE)


def superimpose(
    bundle: "Bundle",
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    options: SuperimposeOptions = SuperimposeOptions(),
) -> PredictionReport:
    """Write one image with the defects of several.

    `out` gets superimposed.png, the image at the network's size; superimposed_figure.png, the
    sources beside it; and superimposed.json, its sources and scores. Where every source has a mask
    (in a folder masks/ beside its folder images/, or x_mask.png beside x.png),
    superimposed_mask.png is their union, 0 or 255, and superimposed.json has the box of each,
    yxyx in [0, 1], and whether it is visible.

    Args:
        bundle: a bundle of the task "superimposition".
        inputs: two or more images of any size, or folders of images.
        out: a folder that is absent, empty, or of an earlier call, which is replaced; no input may
            lie in it.
        options: `weights`, a positive number for each image: the factor on its contrast.

    Returns:
        One written image.

    Raises:
        DentalzooError: there are fewer than two images, one cannot be read, `out` holds inputs
            or anything else or cannot be written, or there is not one positive weight for each
            image.
    """
    images, out = list_images(inputs), Path(out)
    if len(images) < 2:
        raise DentalzooError(
            f"inputs must be at least two images. Received: {[str(path) for path in images]}"
        )
    weights = check_weights(options.weights, len(images))
    masks = _masks_beside(images)
    sources = _load(bundle, images, masks)
    make_folder(out, [*images, *masks.values()])
    image = bundle.overlay(np.stack([source.image for source in sources]), weights)["image"]
    levels = as_pixels(image)
    entries: list[dict[str, Any]] = [
        {"name": path.name, "weight": float(weight)}
        for path, weight in zip(images, weights, strict=True)
    ]
    about: dict[str, Any] = {"bundle": bundle.name, "sources": entries}
    score = None
    missing = [p.name for p, s in zip(images, sources, strict=True) if s.mask is None]
    if not missing:
        scorer = Scorer(*stacked(sources), weights)
        score = scorer.score(grey(levels / np.float32(255)))
        for i, (entry, mask) in enumerate(zip(entries, masks_of(sources), strict=True)):
            entry |= {"box": _box(mask), "recovered": _plain(score.recovered[i])}
            entry |= {"halo": _plain(score.halo[i]), "visible": score.visible[i]}
            entry["covered"] = bool(scorer.covered[i])
            if entry["covered"]:
                _log.warning("the defect of %s lies under the others", entry["name"])
        about |= {"background_error": _plain(score.background_error), "success": score.success}
    elif masks:
        _log.warning("no mask is written, because these have none: %s", ", ".join(missing))
    case = drawing.Case(
        "  +  ".join(path.name for path in images),
        [source.image for source in sources],
        [source.mask for source in sources],
        {"superimposed": (image, score)},
    )
    with whole_folder(out, "superimpose") as folder:
        write_png(folder / "superimposed.png", levels)
        if score:
            union = np.where(np.any(masks_of(sources), axis=0), 255, 0).astype(np.uint8)
            write_png(folder / "superimposed_mask.png", union)
        write_png(folder / "superimposed_figure.png", drawing.cases_figure([case]))
        write_json(folder / "superimposed.json", about)
    return PredictionReport(written=1)


def _masks_beside(images: Sequence[Path]) -> dict[Path, Path]:
    """Return the masks that lie beside images in one of the usual layouts: image -> mask."""
    masks: dict[Path, Path] = {}
    for folder in dict.fromkeys(path.parent for path in images):
        roots = [(folder, 0)]
        if _IMAGES.fullmatch(folder.name) and _has_masks(folder.parent):
            roots.append((folder.parent, 1))
        for root, depth in roots:
            try:
                pairs, _ = pair_folders(scan(root, depth), masks_needed=False)
            except (DentalzooError, OSError):
                continue
            masks |= {image.resolve(): mask for image, mask, _ in pairs}
    return {path: masks[path.resolve()] for path in images if path.resolve() in masks}


def _has_masks(folder: Path) -> bool:
    """Return whether a folder may hold masks, so that thousands of others are not searched."""
    try:
        return any("mask" in e.name.lower() or "label" in e.name.lower() for e in folder.iterdir())
    except OSError:
        return False


def _load(bundle: "Bundle", images: Sequence[Path], masks: dict[Path, Path]) -> list[Source]:
    """Load images with their masks; a mask that does not fit its image is left out."""
    shape, sources = image_shape(bundle), []
    for path in images:
        sample = ImageSample(path.name, path, mask=masks.get(path))
        try:
            sources.append(load_source(sample, shape))
        except BadFile as error:
            if sample.mask is None or Path(error.path) != sample.mask:
                raise
            _log.warning("left out %s", error)
            sources.append(load_source(ImageSample(path.name, path), shape))
    return sources


def _box(mask: np.ndarray) -> list[float] | None:
    """Return the box yxyx in [0, 1], lower ends exclusive; None for an empty mask."""
    if not mask.any():
        return None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    edges = rows[0] / height, columns[0] / width, (rows[-1] + 1) / height, (columns[-1] + 1) / width
    return [round(float(edge), 6) for edge in edges]


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)
