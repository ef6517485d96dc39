"""A page that shows a jaw from all sides in a browser: one file that needs no network.

Positions are 16-bit numbers in steps of 0.002 mm for a jaw, normals and distances 8-bit numbers, as
base64 in the page. viewer.html is the template of the page.
"""

import base64
import html
import json
import re
from functools import cache
from pathlib import Path

import numpy as np

from dentalzoo.ops import meshes
from dentalzoo.tasks.reconstruction.drawing import LIMIT, RAMP, errors_text
from dentalzoo.tasks.reconstruction.inference import POINTS, Shape
from dentalzoo.tasks.reconstruction.scores import Errors

_MAX_VERTICES = 65_535  # of a mesh in WebGL 1; larger meshes are thinned
_STEPS = 32_767  # of a coordinate, to either side of 0


def page(
    name: str, shape: Shape, ground_truth: Shape | None = None, measured: Errors | None = None
) -> str:
    """Return the page of a jaw.

    Args:
        name: of the jaw.
        shape: the reconstruction, in mm.
        ground_truth: the true jaw, in mm in the same frame.
        measured: the distances between them, with `ground_truth`.

    Returns:
        HTML with everything in it.
    """
    what = f"{len(shape.points):,} points"
    if shape.faces is not None:
        what = f"a surface of {len(shape.faces):,} faces between {what}"
    shapes = {"Reconstruction": shape}
    if ground_truth is not None:
        shapes["Ground truth"] = ground_truth
    shown = {label: _thinned(part) for label, part in shapes.items()}
    corners = np.concatenate([part.points for part in shown.values()])
    centre = (corners.min(0) + corners.max(0)) / 2
    step = float(np.abs(corners - centre).max()) / _STEPS or 1.0
    parts: list[dict[str, str | None]] = []
    for label, part in shown.items():
        others = [other for key, other in shapes.items() if key != label]
        packed = _packed(part, others[0] if others else None)
        positions = np.rint((part.points - centre) / step).astype("<i2")
        parts.append({"label": label, "positions": _text(positions), **packed})
    content = {"limit": LIMIT, "ramp": RAMP, "step": step, "parts": parts}
    facts = [f"Reconstruction: {what}.", f"{errors_text(measured)}." if measured else ""]
    texts = {"name": name, "facts": " ".join(facts).strip(), "limit": f"{LIMIT:g}"}
    # File names may hold bytes that are not text
    texts = {k: html.escape(v.encode(errors="backslashreplace").decode()) for k, v in texts.items()}
    texts["data"] = json.dumps(content, separators=(",", ":"))
    return re.sub(r"\{\{(\w+)\}\}", lambda match: texts[match[1]], _template())


@cache
def _template() -> str:
    return Path(__file__).with_name("viewer.html").read_text(encoding="utf-8")


def _thinned(shape: Shape) -> Shape:
    if shape.faces is None:
        return shape
    return Shape(*meshes.decimate(shape.points, shape.faces, _MAX_VERTICES))


def _packed(shape: Shape, other: Shape | None) -> dict[str, str | None]:
    """Return the faces of a shape, and its surface: normals and the distance to another shape."""
    if shape.faces is None:
        normals = meshes.point_normals(shape.points)
    else:
        normals = meshes.vertex_normals(shape.points, shape.faces)
    surface = np.zeros((len(shape.points), 4), np.uint8)
    surface[:, :3] = np.rint(normals * 127).astype(np.int8).view(np.uint8)
    if other is not None:
        there = other.points
        if other.faces is not None:  # whose vertices may be far apart
            there = meshes.sample_surface(other.points, other.faces, POINTS)[0]
        apart = meshes.nearest(shape.points, there)[0]
        surface[:, 3] = np.rint(np.minimum(apart / LIMIT, 1) * 255)
    faces = None if shape.faces is None else _text(shape.faces.astype("<u2"))
    return {"surface": _text(surface), "faces": faces}


def _text(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()
