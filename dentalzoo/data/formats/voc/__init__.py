"""PASCAL VOC: XML files of boxes, SegmentationClass and SegmentationObject, and ImageSets.

VoTT, labelImg, CVAT and `DatasetWriter` write them. Known errors of VoTT are corrected, or the file
is refused with the reason.
"""

from dentalzoo.data.formats.base import Content, Purpose
from dentalzoo.data.formats.voc.reader import parse_xml as parse_xml
from dentalzoo.data.formats.voc.reader import read as read
from dentalzoo.data.formats.voc.reader import sniff as sniff
from dentalzoo.data.formats.voc.writer import lost as lost
from dentalzoo.data.formats.voc.writer import object_xml as object_xml
from dentalzoo.data.formats.voc.writer import write as write

NAME = "VOC"
HOLDS: tuple[Content, ...] = ("boxes", "polygons", "masks", "names", "splits", "difficult")
WRITES: tuple[Content, ...] = ("boxes", "masks", "names", "splits", "difficult")
READS: tuple[Purpose, ...] = ("boxes", "masks")
