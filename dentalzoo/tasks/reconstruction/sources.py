"""The jaws that a bundle is applied to: folders of views, and meshes, which are rendered."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dentalzoo.data.formats.tree import normal
from dentalzoo.data.io.images import IMAGE_SUFFIXES, natural_key
from dentalzoo.data.io.mesh_files import MESH_SUFFIXES, Mesh
from dentalzoo.data.io.view_files import read_views, title_of
from dentalzoo.data.jaw_axes import SAME, Axes
from dentalzoo.data.jaw_names import jaw_of, lower_jaws
from dentalzoo.data.jaw_pose import TURNED, Pose
from dentalzoo.data.meshes import MeshSample, labels_of, load_mesh, log_doubts, log_lower
from dentalzoo.data.silhouettes import check_views
from dentalzoo.data.views import VIEWS, render_views
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.tasks.base import without_folders
from dentalzoo.tasks.reconstruction.inference import Shape, as_seen

_log = logging.getLogger("dentalzoo")


@dataclass(frozen=True)
class Source:
    """A jaw to reconstruct.

    Attributes:
        path: a folder of views, or a mesh.
        views: the folder's images; none for a mesh.
        ground_truth: the file of the true mesh, where there is one; for a mesh the mesh itself.
    """

    path: Path
    views: tuple[Path, ...] = ()
    ground_truth: Path | None = None

    @property
    def title(self) -> Path:
        """Return a path whose stem is the jaw's name."""
        if not self.views:
            return self.path
        folder = self.path.resolve()
        return folder.with_name(f"{folder.name}.views")

    @property
    def files(self) -> list[Path]:
        """Return all files that belong to it."""
        return [*self.views, *([self.ground_truth] if self.ground_truth else [])]


@dataclass(frozen=True)
class Loaded:
    """A jaw as the input of a bundle.

    Attributes:
        views: (V, S, S, 1 or 3) uint8.
        cameras: the camera index of each view, (V,) int32.
        ground_truth: the true jaw, where it is known.
        pose: from the file's mm to the frame of the cameras, where views were rendered from a mesh.
        gt_error: why the file of the ground truth cannot be used.
    """

    views: np.ndarray
    cameras: np.ndarray
    ground_truth: Shape | None = None
    pose: Pose | None = None
    gt_error: BadFile | None = None


def find_jaws(
    inputs: str | Path | Iterable[str | Path], out: Path
) -> tuple[list[Source], list[BadFile]]:
    """List the jaws of files and folders.

    A mesh is a jaw. In folders, at any depth, each folder of images holds the views of one jaw;
    in a folder without images, each mesh that is not named as a lower jaw is a jaw.

    Args:
        inputs: files and folders.
        out: the folder of the results, which is not searched.

    Returns:
        The jaws, each once, and an error for each input that is not a jaw.
    """
    jaws: dict[Path, Source] = {}
    bad = []
    for path in [Path(inputs)] if isinstance(inputs, str | Path) else [Path(p) for p in inputs]:
        if path.is_dir():
            here = list(_in_folder(path, out))
            if not here:
                reason = "expected views of a jaw or meshes of upper jaws. Received: neither"
                bad.append(BadFile(path, reason))
        elif path.suffix.lower() in MESH_SUFFIXES and _is_named_lower(path):
            reason = (
                "a mesh must be of an upper jaw; rename it if it is. Received: a lower jaw, by "
            )
            bad.append(BadFile(path, reason + "its name or that of its folder"))
            continue
        elif path.suffix.lower() in MESH_SUFFIXES:
            here = [Source(path, ground_truth=path)]
        else:
            what = "a file" if path.exists() else "no such file or folder"
            reason = f"expected a folder of views, or a mesh (.obj, .ply, .stl). Received: {what}"
            bad.append(BadFile(path, reason))
            continue
        jaws |= {source.path.resolve(): source for source in here}
    return list(jaws.values()), bad


def _is_named_lower(path: Path) -> bool:
    names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    return jaw_of([path.resolve().parent.name, path.name], names) == "lower"


def _in_folder(root: Path, out: Path) -> Iterator[Source]:
    folders = [root, *(p for p in root.rglob("*") if p.is_dir())]
    for folder in sorted(folders, key=natural_key):
        parts = folder.relative_to(root).parts
        results = folder != root and folder.resolve().is_relative_to(out.resolve())
        if results or any(part.startswith((".", "__MACOSX")) for part in parts):
            continue
        entries = sorted(folder.iterdir(), key=natural_key)
        files = [e for e in entries if not e.name.startswith(".") and not e.is_dir()]
        images = tuple(e for e in files if e.suffix.lower() in IMAGE_SUFFIXES)
        meshes = [e for e in files if e.suffix.lower() in MESH_SUFFIXES]
        if images:
            names = {normal(folder.resolve().name), normal(title_of(images))}
            own = [mesh for mesh in meshes if normal(mesh.stem) in names]
            for mesh in meshes:
                if mesh not in own[:1]:
                    _log.info("%s: ignored, because its folder holds views", mesh)
            yield Source(folder, images, own[0] if own else None)
        else:
            lower = lower_jaws(root, meshes)
            log_lower(lower)
            yield from (Source(m, ground_truth=m) for m in meshes if m not in lower)


def with_ground_truth(sources: Sequence[Source], ground_truth: str | Path) -> list[Source]:
    """Return the jaws with ground-truth meshes for the folders of views.

    Args:
        ground_truth: a folder of meshes named like the folders, or like their images before the
            number; or a mesh, where there is one folder of views.

    Raises:
        DentalzooError: it is neither, or has no mesh of any of the names.
    """
    path, folders = Path(ground_truth), [source for source in sources if source.views]
    if not folders:
        raise DentalzooError(
            "ground_truth applies to folders of views only; a mesh is its own ground truth. "
            f"Received: {path}"
        )
    if path.is_dir():
        meshes = sorted(path.rglob("*"), key=natural_key)
        by_name = {normal(m.stem): m for m in meshes if m.suffix.lower() in MESH_SUFFIXES}
    elif path.is_file() and len(folders) == 1:
        by_name = {normal(folders[0].path.resolve().name): path}
    else:
        raise DentalzooError(
            "ground_truth must be a folder of meshes, or one mesh for one folder of views. "
            f"Received: {path} for {len(folders)} folders"
        )
    result, matched = [], 0
    for source in sources:
        if source.views:
            names = (normal(source.path.resolve().name), normal(title_of(source.views)))
            own = next((by_name[name] for name in names if name in by_name), None)
            matched += own is not None
            if own is None:
                _log.info("%s: no ground-truth mesh of this name in %s", source.path, path)
            source = replace(source, ground_truth=own or source.ground_truth)
        result.append(source)
    if not matched:
        raise DentalzooError(
            f"{path}: expected meshes named like the folders of views, such as "
            f"{folders[0].path.resolve().name}.obj. Received: {len(by_name)} other meshes"
        )
    return result


def load_jaw(source: Source, size: int, axes: Axes | None = SAME) -> Loaded:
    """Read the views of a jaw, or render them.

    Args:
        size: of rendered views, in pixels; smaller ones are logged.
        axes: of meshes, as `dentalzoo.data.meshes.load_mesh`.

    Raises:
        BadFile: the views or the mesh cannot be used; not for the ground truth beside views. Its
            path is that of the jaw.
    """
    if not source.views:
        try:
            seen, shape, pose = _read_mesh(source.path, axes)
        except BadFile as error:
            raise without_folders(error, source.path) from error
        return Loaded(render_views(seen, size), np.arange(VIEWS, dtype=np.int32), shape, pose)
    views, cameras = read_views(source.path, source.views)
    check_views(source.path, views, cameras)
    if views.shape[1] < size / 2:  # 32 pixels enlarged to 128: a quarter more error
        _log.warning(
            "%s: views must be as large as the bundle's, %d x %d pixels, to show as much. "
            "Received: %d x %d", source.path, size, size, *views.shape[1:3]
        )  # fmt: skip
    if source.ground_truth is None:
        return Loaded(views, cameras)
    try:
        return Loaded(views, cameras, _read_mesh(source.ground_truth, axes)[1])
    except BadFile as error:
        return Loaded(views, cameras, gt_error=error)


def _read_mesh(path: Path, axes: Axes | None) -> tuple[Mesh, Shape, Pose]:
    """Return a jaw as the input of `render_views`, in mm, and its pose; log what is doubtful."""
    mesh, pose = load_mesh(MeshSample(path.stem, path, labels_of(path)), axes)
    if pose.turned:
        _log.warning("%s: the crowns point to -z: %s", path, TURNED)
    log_doubts(path, mesh, pose)
    return *as_seen(mesh, pose), pose
