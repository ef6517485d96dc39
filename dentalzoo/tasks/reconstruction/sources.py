"""The jaws that a bundle is applied to: folders of views, and meshes, which are seen first."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dentalzoo.data.formats.tree import normal
from dentalzoo.data.io.images import IMAGE_SUFFIXES, natural_key
from dentalzoo.data.io.mesh_files import MESH_SUFFIXES, Mesh
from dentalzoo.data.io.view_files import read_views, title_of
from dentalzoo.data.jaw_pose import Pose
from dentalzoo.data.meshes import MeshSample, is_lower, labels_of, load_mesh
from dentalzoo.data.views import VIEWS, render_views
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.tasks.reconstruction.inference import Shape, as_seen

_log = logging.getLogger("dentalzoo")


@dataclass(frozen=True)
class Source:
    """A jaw to reconstruct.

    Attributes:
        path: a folder of views, or a mesh.
        views: the folder's images; none for a mesh.
        truth: the true mesh, where there is one; of a mesh itself.
    """

    path: Path
    views: tuple[Path, ...] = ()
    truth: Path | None = None

    @property
    def title(self) -> Path:
        """A path whose stem is the jaw's name."""
        if not self.views:
            return self.path
        folder = self.path.resolve()
        return folder.with_name(f"{folder.name}.views")

    @property
    def files(self) -> list[Path]:
        """All that belongs to it."""
        return [*self.views, *([self.truth] if self.truth else [])]


@dataclass(frozen=True)
class Loaded:
    """A jaw as a bundle takes it.

    Attributes:
        views: (V, S, S, 1 or 3) uint8.
        places: which of the ten cameras each is of, (V,) int32.
        truth: the true jaw, where it is known.
        pose: from the file's mm to the frame of the cameras, where views were drawn of a mesh.
        spoilt: why a true jaw that there is cannot be used.
    """

    views: np.ndarray
    places: np.ndarray
    truth: Shape | None = None
    pose: Pose | None = None
    spoilt: BadFile | None = None


def find_jaws(
    inputs: str | Path | Iterable[str | Path], out: Path
) -> tuple[list[Source], list[BadFile]]:
    """Lists jaws: meshes as given; in folders, at any depth, each folder of images is the views
    of one jaw, and where there are none, each mesh that is not called lower is one.

    Args:
        inputs: files and folders.
        out: where results go; what lies in it is no input.

    Returns:
        The jaws, each once, and what was given and is none.
    """
    found, bad = {}, []
    for path in [Path(inputs)] if isinstance(inputs, str | Path) else [Path(p) for p in inputs]:
        if path.is_dir():
            here = list(_in_folder(path, out))
            if not here:
                reason = "expected views of a jaw or meshes of upper jaws. Received: none of both"
                bad.append(BadFile(path, reason))
        elif path.suffix.lower() in MESH_SUFFIXES:
            here = [Source(path, truth=path)]
        else:
            what = "a file" if path.exists() else "no such file or folder"
            reason = f"expected a folder of views, or a mesh (.obj, .ply, .stl). Received: {what}"
            bad.append(BadFile(path, reason))
            continue
        found |= {source.path.resolve(): source for source in here}
    return list(found.values()), bad


def _in_folder(root: Path, out: Path) -> Iterable[Source]:
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
                    _log.info("%s: not used, beside views", mesh)
            yield Source(folder, images, own[0] if own else None)
        else:
            upper = (m for m in meshes if not any(map(is_lower, (*parts, m.name))))
            yield from (Source(mesh, truth=mesh) for mesh in upper)


def with_truth(sources: Sequence[Source], truth: str | Path) -> list[Source]:
    """Gives folders of views their true jaws.

    Args:
        truth: a folder of meshes named like the folders, or like their images before the number;
            a mesh where there is one folder of views.

    Raises:
        DentalzooError: it is neither, or has no mesh of any of the names.
    """
    truth, wanting = Path(truth), [source for source in sources if source.views]
    if not wanting:
        raise DentalzooError(
            f"truth belongs to folders of views; a mesh is its own. Received: {truth}"
        )
    if truth.is_dir():
        meshes = sorted(truth.rglob("*"), key=natural_key)
        by_name = {normal(m.stem): m for m in meshes if m.suffix.lower() in MESH_SUFFIXES}
    elif truth.is_file() and len(wanting) == 1:
        by_name = {normal(wanting[0].path.resolve().name): truth}
    else:
        raise DentalzooError(
            "truth is a folder of meshes, or one mesh for one folder of views. "
            f"Received: {truth} for {len(wanting)} folders"
        )
    given, found = [], 0
    for source in sources:
        if source.views:
            names = (normal(source.path.resolve().name), normal(title_of(source.views)))
            own = next((by_name[name] for name in names if name in by_name), None)
            found += own is not None
            if own is None:
                _log.info("%s: no true jaw of this name in %s", source.path, truth)
            source = replace(source, truth=own or source.truth)
        given.append(source)
    if not found:
        raise DentalzooError(
            f"{truth}: expected meshes named like the folders of views, "
            f"{wanting[0].path.resolve().name}.obj for one. Received: {len(by_name)} other meshes"
        )
    return given


def load_jaw(source: Source, size: int) -> Loaded:
    """Reads the views of a jaw, or draws them.

    Args:
        size: of those that are drawn, in pixels.

    Raises:
        BadFile: the views or the mesh cannot be used; not for the truth beside views.
    """
    if not source.views:
        seen, truth, pose = _read_true(source.path)
        return Loaded(render_views(seen, size), np.arange(VIEWS, dtype=np.int32), truth, pose)
    views, places = read_views(source.path, source.views)
    if source.truth is None:
        return Loaded(views, places)
    try:
        return Loaded(views, places, _read_true(source.truth)[1])
    except BadFile as error:
        return Loaded(views, places, spoilt=error)


def _read_true(path: Path) -> tuple[Mesh, Shape, Pose]:
    """A jaw as `render_views` takes it, in mm, and its pose."""
    mesh, pose = load_mesh(MeshSample(path.stem, path, labels_of(path)))
    return *as_seen(mesh, pose), pose
