"""Corrected copies of meshes: turned into the zoo's axes, and in millimetres."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dentalzoo.data.io.mesh_files import Mesh, read_mesh, write_obj, write_ply, write_stl
from dentalzoo.data.jaw_axes import SAME, Axes, axes_text, turn
from dentalzoo.data.jaw_pose import Pose, WrongUnit, find_pose
from dentalzoo.errors import DentalzooError
from dentalzoo.output_dirs import make_folder

_WRITERS: dict[str, Callable[[Path, np.ndarray, np.ndarray], None]] = {
    ".obj": write_obj,
    ".ply": write_ply,
    ".stl": write_stl,
}


@dataclass(frozen=True)
class Correction:
    """A jaw in the zoo's axes and millimetres, its pose there, and what was changed."""

    mesh: Mesh
    pose: Pose
    change: str


def corrected(mesh_file: Path, labels: Path | None, axes: Axes | None = None) -> Correction | None:
    """Correct the unit and the axes of an upper jaw.

    Args:
        mesh_file, labels: as `dentalzoo.data.io.mesh_files.read_mesh`.
        axes: the turn to apply; None for the one that is detected.

    Returns:
        The correction, with an empty `change` where nothing is wrong; None where the mesh cannot be
        corrected.
    """
    try:
        mesh, changes = read_mesh(mesh_file, labels), []
        try:
            pose = find_pose(mesh, axes)
        except WrongUnit as error:
            if error.factor is None:
                return None
            mesh = replace(mesh, vertices=mesh.vertices * mesh.vertices.dtype.type(error.factor))
            changes.append(f"multiplied by {error.factor:g}")
            pose = find_pose(mesh, axes)
    except DentalzooError:
        return None
    if pose.axes != SAME:
        changes.append(f"turned by {axes_text(pose.axes)}")
        mesh = replace(mesh, vertices=turn(mesh.vertices, pose.axes))
        pose = find_pose(mesh)
    return Correction(mesh, pose, ", ".join(changes))


class CorrectedFolder:
    """A new folder for the copy of a data set of meshes, with corrections.

    Args:
        out: the folder, made where it is absent.
        root: the data set.
        meshes: its files.

    Raises:
        DentalzooError: `out` lies in the data set or holds it, or cannot be written.
    """

    def __init__(self, out: str | Path, root: str | Path, meshes: Iterable[Path]) -> None:
        self.out, self.root = Path(out), Path(root)
        if self.out.resolve().is_relative_to(self.root.resolve()):
            raise DentalzooError(f"the folder of copies must be outside the data. Received: {out}")
        make_folder(self.out, list(meshes))

    def add(self, mesh_file: Path, labels: Path | None, mesh: Mesh | None = None) -> None:
        """Copy a mesh and its labels; write `mesh` instead where it is given."""
        place = self.out / mesh_file.relative_to(self.root)
        place.parent.mkdir(parents=True, exist_ok=True)
        if mesh is None:
            shutil.copyfile(mesh_file, place)
        else:
            _WRITERS[place.suffix.lower()](place, mesh.vertices, mesh.faces)
        if labels is not None:
            shutil.copyfile(labels, place.with_suffix(".json"))

    def add_lists(self) -> None:
        """Copy `split.csv` and lists of splits."""
        for path in self.root.rglob("*"):
            if path.name == "split.csv" or path.suffix == ".txt":
                place = self.out / path.relative_to(self.root)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)
