"""Projects of the annotation tool VoTT, versions 1 and 2."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dentalzoo.data.formats.base import BoxSample, Content, Place, Purpose
from dentalzoo.data.formats.vott.reader import read as read
from dentalzoo.data.formats.vott.reader import sniff as sniff
from dentalzoo.data.formats.vott.writer import write_vott_v1 as write_vott_v1
from dentalzoo.data.formats.vott.writer import write_vott_v2 as write_vott_v2
from dentalzoo.data.formats.writing import other_extents, several_parts
from dentalzoo.output_dirs import final_path

NAME = "VoTT"
HOLDS: tuple[Content, ...] = ("boxes", "polygons", "names")
WRITES: tuple[Content, ...] = ("boxes", "polygons", "names")
READS: tuple[Purpose, ...] = ("boxes", "masks")


def lost(samples: Sequence[BoxSample]) -> list[str]:
    """Return a phrase for each object that is more than one polygon, or than its box."""
    return [*other_extents(samples), *several_parts(samples)]


def write(samples: Sequence[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Write a project of VoTT 2 that is named after its folder, see `write_vott_v2`."""
    moved = (replace(sample, image=place(sample, out / "images")) for sample in samples)
    return write_vott_v2(out, moved, classes, final_path(out).name)
