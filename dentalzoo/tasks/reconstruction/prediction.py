"""Jaws from any number of views or meshes, in the formats that other programs open."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.atomic import write_json
from dentalzoo.data.io.images import encode_png, write_png
from dentalzoo.data.io.mesh_files import encode_obj, encode_ply, encode_stl
from dentalzoo.data.jaw_axes import parse_axes
from dentalzoo.data.pipeline.prefetch import for_each
from dentalzoo.data.tones import match_tones
from dentalzoo.data.views import import_open3d
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.ops import meshes
from dentalzoo.output_dirs import make_folder
from dentalzoo.tasks import predictor
from dentalzoo.tasks.base import PredictionReport, names_of_results
from dentalzoo.tasks.options import ReconstructionPredictOptions
from dentalzoo.tasks.predictor import Item, Plan, Result, items_of, predict_all
from dentalzoo.tasks.reconstruction import drawing, viewer
from dentalzoo.tasks.reconstruction.confidence import bound_of, confidence
from dentalzoo.tasks.reconstruction.inference import (
    MIN_POINTS,
    NOT_REFINED,
    POINTS,
    Shape,
    check_refines,
    makes_meshes,
    reconstruct,
)
from dentalzoo.tasks.reconstruction.scores import errors
from dentalzoo.tasks.reconstruction.sources import (
    Loaded,
    Source,
    find_jaws,
    load_jaw,
    with_ground_truth,
)
from dentalzoo.tasks.reconstruction.surfaces import surface_of

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_log = logging.getLogger("dentalzoo")
_CONFIDENCE = "confidence.json"
_ENCODERS = {"stl": encode_stl, "obj": encode_obj}


def predict(
    bundle: "Bundle",
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    options: ReconstructionPredictOptions = ReconstructionPredictOptions(),
) -> PredictionReport:
    """Reconstruct jaws and write files named after each: folders by name, meshes by stem.

    - `out`/<name>.ply, what the bundle returns, a mesh or points, and .stl or .obj: the mesh, or
      the surface through 10,000 or more points (`surfaces.surface_of`). In mm; for a mesh in its
      own frame, for views in that of the cameras (`dentalzoo.data.jaw_pose`, not turned, 1 mm = 1).
    - `out`/<name>.png, a figure of the views and the reconstruction; where the ground truth is
      known, with this and the distances.
    - `out`/<name>.html, the same to turn around in a browser, in one file.
    - `out`/confidence.json, how far each can be trusted, see `confidence.Confidence.record`, and
      with `refine` whether it was "refined"; a warning there is also logged, and jaws that were
      not refined are.

    Every file is whole or absent, whenever the process dies.

    Args:
        bundle: a bundle of the task "reconstruction".
        inputs: folders of views, see docs/data_formats.md; folders of such folders; meshes of
            upper jaws, and folders of them: their ten views are rendered, and the mesh is the
            ground truth.
        out: a folder, made where it is absent; no input may lie in it.
        options: without `mesh`, "stl" is written beside PLY; "ply" alone writes no surface. A mesh
            without an area is written as points, and so are points without Open3D, which is
            logged. `ground_truth` is a mesh or a folder of meshes named like
            the folders of views; a mesh of that name inside the folder is used in any case.

    Returns:
        The number of jaws written, and those that failed. A jaw that cannot be used is logged in
        one line, and the rest continues.

    Raises:
        DentalzooError: there is no jaw, `out` holds inputs or cannot be written, a mesh format
            for a bundle that makes few points or without Open3D, no matching ground truth, or
            `refine` for a bundle that cannot.
    """
    return predict_all(Predictor(bundle, options), inputs, out)


class Predictor(predictor.Predictor):
    """Jaws from views or meshes, see `predict`."""

    title, unit = "reconstructing", "jaw"

    def __init__(self, bundle: "Bundle", options: ReconstructionPredictOptions) -> None:
        self.options, self._bundle = options, bundle
        check_refines(bundle, options.refine)
        self._formats = _formats(bundle, options.mesh)
        self._axes = parse_axes(options.axes)
        self._size = bundle.metadata["config"]["image_size"]
        self._bound = bound_of(bundle.metadata)
        self._tones = bundle.metadata["config"].get("tones", ())

    def plan(self, inputs: str | Path | Iterable[str | Path], out: Path) -> Plan:
        sources, report = _find(inputs, out, self.options.ground_truth)
        names = _names(sources, out, self.options.anonymize)
        paths = [source.path for source in sources]
        items = items_of(paths, list(names.values()), self.options.anonymize, sources)
        return Plan(items, tuple(report.failed))

    def read(self, item: Item) -> Loaded:
        return load_jaw(item.source, self._size, self._axes)

    def compute(self, item: Item, value: Loaded) -> Shape:
        return reconstruct(self._bundle, value.views, value.cameras, self.options.refine)

    def results(self, item: Item, value: Loaded, prediction: Shape) -> Result:
        surface = self._surface(item, prediction)
        files = _files(item.name, value, prediction, surface, self._formats)
        views = match_tones(value.views, self._tones)
        trust = confidence(prediction, views, value.cameras, self._bound)
        if trust.warning:
            _log.warning("%s: %s", item.path, trust.warning)
        record = trust.record()
        if prediction.refined is not None:
            record["refined"] = prediction.refined
        if prediction.refined is False:
            _log.warning("%s: %s", item.path, NOT_REFINED)
        error = value.gt_error
        problems = () if error is None else ((str(error.path), error.reason),)
        return Result(files, {"confidence": record}, problems)

    def combine(self, records: Iterable[tuple[Item, Mapping[str, Any]]], out: Path) -> list[Path]:
        jaws = [{"file": item.file, **record["confidence"]} for item, record in records]
        write_json(out / _CONFIDENCE, {"bundle": self._bundle.name, "jaws": jaws})
        return [out / _CONFIDENCE]

    def _surface(self, item: Item, shape: Shape) -> Shape | None:
        """Return the mesh of a result: itself, or the surface through its points."""
        if shape.faces is not None:
            return shape
        if not self._formats or makes_meshes(self._bundle):
            return None
        surface = surface_of(shape.points)
        if surface is None:
            _log.warning("%s: no surface fits the points: written as points", item.path)
        return surface


def _files(
    name: str, jaw: Loaded, shape: Shape, surface: Shape | None, formats: Sequence[str]
) -> dict[str, bytes]:
    """Return all files of a reconstructed jaw, and of the surface through its points."""
    measured = None
    if jaw.ground_truth is not None:
        gt_points, _ = meshes.sample_surface(*jaw.ground_truth.surface, POINTS)
        measured = errors(shape.points, gt_points)
    files = {f"{name}.ply": encode_ply(_in_file(jaw, shape.points), shape.faces)}
    if surface is not None:
        vertices, faces = surface.surface
        for suffix in formats:
            files[f"{name}.{suffix}"] = _ENCODERS[suffix](_in_file(jaw, vertices), faces)
    figure = drawing.jaw_figure(jaw.views, jaw.cameras, shape, jaw.ground_truth, measured)
    files[f"{name}.png"] = encode_png(figure)
    page = viewer.page(name, surface or shape, jaw.ground_truth, measured)
    return files | {f"{name}.html": page.encode()}


def _in_file(jaw: Loaded, points: np.ndarray) -> np.ndarray:
    """Return points in the frame of the jaw's file, which for views is that of the cameras."""
    return points if jaw.pose is None else replace(jaw.pose, scale=1.0).invert(points)


def write_views(
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    size: int = 224,
    *,
    axes: str | None = None,
) -> PredictionReport:
    """Render the ten views of meshes: `out`/<name>/view_0.png to view_9.png for each.

    Args:
        inputs: meshes of upper jaws, and folders of them.
        out: a folder, made where it is absent; no input may lie in it.
        size: height and width in pixels.
        axes: of the meshes, such as "-x,-z,-y" (`dentalzoo.data.jaw_axes`), or "auto".

    Returns:
        The number of jaws written, and those that failed; folders of views fail.

    Raises:
        DentalzooError: there is no jaw, or `out` holds inputs or cannot be written.
    """
    out = Path(out)
    if size < 1 or int(size) != size:
        raise DentalzooError(f"size must be an integer >= 1. Received: {size!r}")
    turn_by = parse_axes(axes)
    sources, report = _find(inputs, out)
    names = _names(sources, out)

    def write(source: Source, jaw: Loaded) -> None:
        if source.views:
            raise BadFile(source.path, "expected meshes. Received: a folder of images")
        for camera, view in zip(jaw.cameras, jaw.views, strict=True):
            write_png(out / names[source] / f"view_{camera}.png", view)
        report.written += 1

    for _ in for_each(
        sources,
        lambda source: load_jaw(source, size, turn_by),
        write,
        title="rendering",
        unit="jaw",
        failed=report.failed,
        name=lambda source: str(source.path),
    ):
        pass
    return report


def _find(
    inputs: str | Path | Iterable[str | Path], out: Path, ground_truth: str | Path | None = None
) -> tuple[list[Source], PredictionReport]:
    """Find the jaws, make the folder of the results, and begin the report."""
    inputs = inputs if isinstance(inputs, str | Path) else list(inputs)
    sources, bad = find_jaws(inputs, out)
    if not sources:
        received = bad[0] if bad else repr(inputs)
        raise DentalzooError(f"inputs must be folders of views, or meshes. Received: {received}")
    if ground_truth is not None:
        sources = with_ground_truth(sources, ground_truth)
    make_folder(out, [file for source in sources for file in source.files])
    report = PredictionReport()
    for error in bad:
        _failed(report, error)
    return sources, report


def _names(sources: Sequence[Source], out: Path, anonymize: bool = False) -> dict[Source, str]:
    """Return the name of each jaw's files."""
    names = names_of_results([source.title for source in sources], out, anonymize=anonymize)
    return dict(zip(sources, names, strict=True))


def _failed(report: PredictionReport, error: BadFile) -> None:
    _log.warning("%s: %s", error.path, error.reason)
    report.failed.append((str(error.path), error.reason))


def _formats(bundle: "Bundle", mesh: Sequence[str] | None) -> list[str]:
    """Return the formats of meshes beside PLY.

    Raises:
        DentalzooError: the bundle makes points, and no surface can be made of them.
    """
    others = [suffix for suffix in dict.fromkeys(mesh or ["stl"]) if suffix != "ply"]
    if not others or makes_meshes(bundle):
        return others
    count = bundle.metadata["signatures"]["serve"]["outputs"]["points"]["shape"][1]
    if count is not None and count < MIN_POINTS:
        if mesh is None:
            return []
        raise DentalzooError(
            f"mesh must be ply for {bundle.name}, which makes {count} points; a surface needs "
            f"{MIN_POINTS:,}. Received: {others[0]}"
        )
    try:
        import_open3d()
    except DentalzooError as error:
        if mesh is not None:
            raise
        _log.warning("points are written, and no surface through them: %s", error)
        return []
    return others
