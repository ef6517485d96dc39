"""Jaws from any number of views or meshes, in the formats that other programs open."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dentalzoo.atomic import write_atomically
from dentalzoo.data.io.images import write_png
from dentalzoo.data.io.mesh_files import write_obj, write_ply, write_stl
from dentalzoo.data.pipeline.prefetch import read_ahead
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.ops import meshes
from dentalzoo.output_dirs import make_folder
from dentalzoo.tasks.base import PredictionReport, output_names
from dentalzoo.tasks.reconstruction import drawing, viewer
from dentalzoo.tasks.reconstruction.inference import POINTS, makes_meshes, reconstruct
from dentalzoo.tasks.reconstruction.scores import errors
from dentalzoo.tasks.reconstruction.sources import Loaded, Source, find_jaws, load_jaw, with_truth

_log = logging.getLogger("dentalzoo")

FORMATS = ("ply", "stl", "obj")
_WRITERS = {"stl": write_stl, "obj": write_obj}


def predict(
    bundle,
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    mesh: Sequence[str] | None = None,
    truth: str | Path | None = None,
) -> PredictionReport:
    """Reconstructs jaws and writes files named after each: folders as they are, meshes by stem.

    - `out`/<name>.ply, and where the bundle makes meshes also .stl or .obj: in mm, of a mesh in
      its own frame, of views in that of the cameras (`dentalzoo.data.jaw_pose`, unturned, 1 mm =
      1).
    - `out`/<name>.png, a sheet of the views and the reconstruction; where the truth is known also
      this and the distances.
    - `out`/<name>.html, the same to turn around in a browser, which needs nothing else.

    Every file is whole or absent, whenever the process dies.

    Args:
        bundle: a `Bundle` of the task "reconstruction".
        inputs: folders of views, see docs/data_formats.md; folders of such folders; meshes of
            upper jaws, and folders of them, which are drawn as the cameras see them and are the
            truth themselves.
        out: a folder, made where it is absent; no input may lie in it.
        mesh: formats of meshes, of "ply", "stl" and "obj"; a PLY file is written anyway. None for
            "stl" where the bundle makes meshes. What has no area is written as points alone.
        truth: the true jaws of folders of views, one mesh or a folder of meshes of their names; a
            mesh of that name within the folder is taken without.

    Returns:
        What was written and what failed. A jaw that cannot be used is logged in one line and the
        rest goes on.

    Raises:
        DentalzooError: there is no jaw, `out` holds inputs or cannot be written, or an option is
            out of place.
    """
    formats, out = _formats(bundle, mesh), Path(out)
    sources, report = _find(inputs, out, truth)
    size = bundle.metadata["config"]["image_size"]
    for source, name, jaw in _loaded("reconstructing", sources, size, report):
        try:
            shape = reconstruct(bundle, jaw.views, jaw.places)
        except DentalzooError as error:
            _failed(report, source.path, error)
            continue
        measured = None
        if jaw.truth is not None:
            true, _ = meshes.sample_surface(jaw.truth.points, jaw.truth.faces, POINTS)
            measured = errors(shape.points, true)
        points = shape.points
        if jaw.pose is not None:
            points = replace(jaw.pose, scale=1.0).invert(points)
        write_ply(out / f"{name}.ply", points, shape.faces)
        for suffix in formats if shape.faces is not None else ():
            _WRITERS[suffix](out / f"{name}.{suffix}", points, shape.faces)
        sheet = drawing.jaw_sheet(jaw.views, jaw.places, shape, jaw.truth, measured)
        write_png(out / f"{name}.png", sheet)
        page = viewer.page(name, shape, jaw.truth, measured)
        write_atomically(out / f"{name}.html", page, durable=False)
        report.written += 1
        if jaw.spoilt is not None:
            _failed(report, jaw.spoilt.path, jaw.spoilt)
    return report


def write_views(
    inputs: str | Path | Iterable[str | Path], out: str | Path, size: int = 224
) -> PredictionReport:
    """Draws what the ten cameras see of meshes: `out`/<name>/view_0.png to view_9.png of each.

    Args:
        inputs: meshes of upper jaws, and folders of them.
        out: a folder, made where it is absent; no input may lie in it.
        size: height and width in pixels.

    Returns:
        How many jaws were written and what failed; folders of views do.

    Raises:
        DentalzooError: there is no jaw, or `out` holds inputs or cannot be written.
    """
    out = Path(out)
    if size < 1 or int(size) != size:
        raise DentalzooError(f"size is a whole number of pixels. Received: {size!r}")
    sources, report = _find(inputs, out)
    for source, name, jaw in _loaded("drawing", sources, size, report):
        if source.views:
            error = BadFile(source.path, "expected meshes. Received: a folder of images")
            _failed(report, source.path, error)
            continue
        for place, view in zip(jaw.places, jaw.views, strict=True):
            write_png(out / name / f"view_{place}.png", view)
        report.written += 1
    return report


def _find(
    inputs, out: Path, truth: str | Path | None = None
) -> tuple[list[Source], PredictionReport]:
    """Finds jaws, makes the folder of the results, and begins the report."""
    sources, bad = find_jaws(inputs, out)
    if not sources:
        received = bad[0] if bad else repr(inputs)
        raise DentalzooError(f"expected folders of views, or meshes. Received: {received}")
    if truth is not None:
        sources = with_truth(sources, truth)
    make_folder(out, [file for source in sources for file in source.files])
    report = PredictionReport()
    for error in bad:
        _failed(report, error.path, error)
    return sources, report


def _loaded(
    word: str, sources: list[Source], size: int, report: PredictionReport
) -> Iterator[tuple[Source, str, Loaded]]:
    """Yields source, name and jaw; tells of what fails."""
    names = dict(zip(sources, output_names([s.title for s in sources]), strict=True))
    reading = read_ahead(lambda source: load_jaw(source, size), sources)
    with logging_redirect_tqdm():
        for source, jaw in tqdm(reading, word, len(sources), disable=None, unit="jaw"):
            if isinstance(jaw, DentalzooError):
                _failed(report, source.path, jaw)
            else:
                yield source, names[source], jaw


def _failed(report: PredictionReport, path: Path, error: DentalzooError) -> None:
    reason = error.reason if isinstance(error, BadFile) else str(error)
    if isinstance(error, BadFile) and Path(error.path) != path:  # the labels of a mesh, say
        reason = f"{Path(error.path).name}: {reason}"
    _log.warning("%s: %s", path, reason)
    report.failed.append((str(path), reason))


def _formats(bundle, wanted: Sequence[str] | None) -> list[str]:
    """The formats of meshes beside PLY."""
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if wanted is None:
        return ["stl"] if makes_meshes(bundle) else []
    unknown = [word for word in wanted if word not in FORMATS]
    if unknown:
        raise DentalzooError(f"mesh is of: {', '.join(FORMATS)}. Received: {unknown[0]!r}")
    others = [word for word in dict.fromkeys(wanted) if word != "ply"]
    if others and not makes_meshes(bundle):
        raise DentalzooError(
            f"{bundle.name} makes points, which are written as PLY alone. Received: {others[0]}"
        )
    return others
