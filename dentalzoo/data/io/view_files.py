"""The views of a jaw as image files: a folder for each jaw, an image for each camera.

The number at the end of an image's name is that of its camera, 0 to 9: `view_0.png`, `3.jpg`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dentalzoo.data.io.images import read_image
from dentalzoo.data.views import VIEWS
from dentalzoo.errors import BadFile

_NAME = re.compile(r"(.*?)[ ._-]*([0-9]+)", re.DOTALL)
_LEAST_CONTRAST = 16  # ours: grey values between the darkest and the brightest pixel


def read_views(folder: Path, images: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Reads the views of one jaw.

    Args:
        folder: what messages name.
        images: files of images, some or all of the ten.

    Returns:
        (V, S, S, 1 or 3) uint8, and the camera of each, (V,) int32, ascending.

    Raises:
        BadFile: an image cannot be read, has no camera or that of another one, is not square or
            of another size, or shows nothing.
    """
    by_camera = {}
    for path in images:
        camera = camera_of(path)
        if camera is None or camera >= VIEWS:
            raise BadFile(
                folder,
                "the name of a view ends in the number of its camera, 0 to 9. "
                f"Received: {path.name!r}",
            )
        if camera in by_camera:
            both = f"{by_camera[camera].name!r} and {path.name!r}"
            raise BadFile(
                folder, f"a folder holds one jaw, with one view of each camera. Received: {both}"
            )
        by_camera[camera] = path
    if not by_camera:
        raise BadFile(folder, f"expected up to {VIEWS} views. Received: no image")
    cameras = sorted(by_camera)
    views = [_read(folder, by_camera[camera]) for camera in cameras]
    first, channels = views[0].shape, max(view.shape[2] for view in views)
    for camera, view in zip(cameras, views, strict=True):
        if view.shape[:2] != first[:2]:
            shown = " and ".join(f"{s[1]} x {s[0]}" for s in (first, view.shape))
            names = f"{by_camera[cameras[0]].name!r} and {by_camera[camera].name!r}"
            raise BadFile(folder, f"views are of one size. Received: {shown} in {names}")
    grey_repeated = [np.broadcast_to(view, (*first[:2], channels)) for view in views]
    return np.stack(grey_repeated), np.int32(cameras)


def camera_of(path: Path) -> int | None:
    """The number at the end of an image's name, whatever it is; None without."""
    named = _NAME.fullmatch(path.stem)
    return int(named[2]) if named else None


def title_of(images: Sequence[Path]) -> str:
    """What the names of images share before the number, `jaw12` of `jaw12_3.jpg`; else ""."""
    found = {named[1] for named in (_NAME.fullmatch(p.stem) for p in images) if named}
    return found.pop() if len(found) == 1 else ""


def _read(folder: Path, path: Path) -> np.ndarray:
    try:
        view = read_image(path)
    except BadFile as error:
        raise BadFile(folder, f"{path.name}: {error.reason}") from error
    height, width, _ = view.shape
    if height != width:
        raise BadFile(
            folder,
            "the cameras' images are square; cut or fill up all of them alike. "
            f"Received: {path.name!r} of {width} x {height}",
        )
    if np.ptp(view) < _LEAST_CONTRAST:
        raise BadFile(folder, f"expected a jaw in each view. Received: {path.name!r}, without any")
    return view
