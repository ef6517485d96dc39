"""Projects of the annotation tool VoTT, versions 1 and 2."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from dentalzoo.data.formats.base import BoxSample, Purpose
from dentalzoo.data.formats.vott.reader import read as read
from dentalzoo.data.formats.vott.reader import sniff as sniff
from dentalzoo.data.formats.vott.writer import write_vott_v1 as write_vott_v1
from dentalzoo.data.formats.vott.writer import write_vott_v2 as write_vott_v2

NAME = "VoTT"
HOLDS: tuple[str, ...] = ("boxes",)
READS: tuple[Purpose, ...] = ("boxes",)


def write(samples: Iterable[BoxSample], out: Path, classes: Sequence[str]) -> Path:
    """Write a project of VoTT 2 that is named after its folder, see `write_vott_v2`."""
    return write_vott_v2(out, samples, classes, out.name)
