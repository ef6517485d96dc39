"""YOLO labels: a text for each image, a line `class cx cy w h` or `class x y x y ...` per object.

All numbers are in parts of the image. `names` has the files that name the classes, `lines` what
other counts of numbers mean, `split_lists` the lists of images.
"""

from dentalzoo.data.formats.base import Content, Purpose
from dentalzoo.data.formats.yolo.reader import read, sniff
from dentalzoo.data.formats.yolo.writer import lost, write

__all__ = ["HOLDS", "NAME", "READS", "WRITES", "lost", "read", "sniff", "write"]

NAME = "YOLO"
HOLDS: tuple[Content, ...] = ("boxes", "polygons", "names", "splits")
WRITES: tuple[Content, ...] = ("boxes", "polygons", "names", "splits")
READS: tuple[Purpose, ...] = ("boxes", "masks")
