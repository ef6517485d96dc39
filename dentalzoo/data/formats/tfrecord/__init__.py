"""TFRecord files of `tf.train.Example` with the keys of the TF Object Detection API."""

from dentalzoo.data.formats.base import Content, Purpose
from dentalzoo.data.formats.tfrecord.reader import read as read
from dentalzoo.data.formats.tfrecord.reader import sniff as sniff
from dentalzoo.data.formats.tfrecord.writer import RecordReport as RecordReport
from dentalzoo.data.formats.tfrecord.writer import ShardPlan as ShardPlan
from dentalzoo.data.formats.tfrecord.writer import ShardWriter as ShardWriter
from dentalzoo.data.formats.tfrecord.writer import check_settings as check_settings
from dentalzoo.data.formats.tfrecord.writer import write as write
from dentalzoo.data.formats.tfrecord.writer import write_shards as write_shards
from dentalzoo.data.formats.writing import nothing_more

NAME = "TFRecord"
HOLDS: tuple[Content, ...] = ("boxes", "names", "splits", "difficult", "crowd")
WRITES = HOLDS
READS: tuple[Purpose, ...] = ("boxes",)
lost = nothing_more
