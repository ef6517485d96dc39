"""COCO files under any name: boxes, polygons and run lengths, which become masks."""

from dentalzoo.data.formats.base import Content, Purpose
from dentalzoo.data.formats.coco.reader import read, sniff
from dentalzoo.data.formats.coco.writer import write
from dentalzoo.data.formats.writing import nothing_more

__all__ = ["HOLDS", "NAME", "READS", "WRITES", "lost", "read", "sniff", "write"]

NAME = "COCO"
HOLDS: tuple[Content, ...] = ("boxes", "polygons", "masks", "names", "splits", "crowd")
WRITES: tuple[Content, ...] = ("boxes", "polygons", "masks", "names", "splits", "crowd")
READS: tuple[Purpose, ...] = ("boxes", "masks")
lost = nothing_more
