"""Read the views of a jaw from image files: one folder per jaw, one image per camera.

The number at the end of an image's name is the index of its camera, 0 to 9: `view_0.png`, `3.jpg`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dentalzoo.data.io.images import read_image
from dentalzoo.errors import BadFile

VIEWS = 10  # the paper

_NAME = re.compile(r"(.*?)[ ._-]*([0-9]+)", re.DOTALL)
_MIN_CONTRAST = 16  # ours: grey values between the darkest and the brightest pixel


def read_views(folder: Path, images: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Read the views of one jaw.

    Args:
        folder: the folder that errors name.
        images: some or all of the ten image files.

    Returns:
        Views (V, S, S, 1 or 3) uint8, and their camera indices (V,) int32, ascending.

    Raises:
        BadFile: an image cannot be read, has no camera index or the same as another image, is not
            square, has another size than the others, or is flat.
    """
    by_camera: dict[int, Path] = {}
    for path in images:
        camera = camera_of(path)
        if camera is None or camera >= VIEWS:
            indices = {camera_of(path) for path in images}
            counted = "these seem to be counted from 1; " * (VIEWS in indices and 0 not in indices)
            raise BadFile(
                folder,
                f"{counted}the name of a view must end in its camera index, 0 to 9. "
                f"Received: {path.name!r}",
            )
        if camera in by_camera:
            both = f"{by_camera[camera].name!r} and {path.name!r}"
            raise BadFile(
                folder, f"a folder must hold one jaw, one view per camera. Received: {both}"
            )
        by_camera[camera] = path
    if not by_camera:
        raise BadFile(folder, f"must hold 1 to {VIEWS} views. Received: no image")
    cameras = sorted(by_camera)
    views = [_read(folder, by_camera[camera]) for camera in cameras]
    first, channels = views[0].shape, max(view.shape[2] for view in views)
    for camera, view in zip(cameras, views, strict=True):
        if view.shape[:2] != first[:2]:
            shown = " and ".join(f"{s[1]} x {s[0]}" for s in (first, view.shape))
            names = f"{by_camera[cameras[0]].name!r} and {by_camera[camera].name!r}"
            raise BadFile(folder, f"views must have one size. Received: {shown} in {names}")
    grey_repeated = [np.broadcast_to(view, (*first[:2], channels)) for view in views]
    return np.stack(grey_repeated), np.array(cameras, np.int32)


def camera_of(path: Path) -> int | None:
    """Return the number at the end of an image's name, of any size; None without one."""
    match = _NAME.fullmatch(path.stem)
    return int(match[2]) if match else None


def title_of(images: Sequence[Path]) -> str:
    """Return the common part of the names before the number, `jaw12` of `jaw12_3.jpg`; else ""."""
    titles = {match[1] for match in (_NAME.fullmatch(path.stem) for path in images) if match}
    return titles.pop() if len(titles) == 1 else ""


def _read(folder: Path, path: Path) -> np.ndarray:
    try:
        view = read_image(path, warn=False)  # a view from near by may be nearly white
    except BadFile as error:
        raise BadFile(folder, f"{path.name}: {error.reason}") from error
    height, width, _ = view.shape
    if height != width:
        raise BadFile(
            folder,
            "views must be square; crop or pad all of them alike. "
            f"Received: {path.name!r} of {width} x {height}",
        )
    if np.ptp(view) < _MIN_CONTRAST:
        raise BadFile(
            folder, f"each view must show a jaw. Received: {path.name!r}, which is almost uniform"
        )
    return view
