"""Write images with boxes as TFRecord files with the keys of the TF Object Detection API.

`out`/
    train-00000-of-00008.tfrecord   a `tf.train.Example` for each image; also val-..., test-...
    label_map.pbtxt                 the numbers 1..n of the classes
    records.json                    the settings of the records, and what each file holds
"""

import hashlib
import io
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from os.path import commonpath
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dentalzoo.atomic import remove_leftovers, stamp, write_atomically, write_json
from dentalzoo.data.formats.base import BoxSample, Place, check_class_list
from dentalzoo.data.formats.label_maps import label_map
from dentalzoo.data.formats.tfrecord.reader import BOX, EDGES
from dentalzoo.data.formats.tree import SPLITS
from dentalzoo.data.formats.writing import with_splits
from dentalzoo.data.io.decode import plain_jpeg
from dentalzoo.data.io.images import read_image
from dentalzoo.data.pipeline.prefetch import read_ahead
from dentalzoo.environment import prepare_tensorflow
from dentalzoo.errors import BadFile, DentalzooError, reason_of
from dentalzoo.output_dirs import make_folder

_log = logging.getLogger("dentalzoo")

_CLIP, _TILES = 2.0, (16, 16)  # clemkoa/tooth-detection, data_preprocessing.py
_SETTINGS, _LABEL_MAP = "records.json", "label_map.pbtxt"


_Numbered = tuple[int, BoxSample]


@dataclass
class RecordReport:
    """The content of a folder of record files.

    Attributes:
        written: number of images.
        failed: (name, reason) of the images that cannot be read.
    """

    written: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def write(samples: Sequence[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Write records with the default settings, see `write_shards`."""
    root = commonpath([str(sample.image.parent) for sample in samples]) if samples else ""
    write_shards(with_splits("TFRecord", samples), out, classes, root=Path(root))
    return out


def write_shards(
    samples: Sequence[BoxSample],
    out: Path,
    classes: Sequence[str],
    *,
    root: Path,
    clahe: bool = False,
    shards: int = 8,
    quality: int = 95,
) -> RecordReport:
    """Write the records of all splits; an interrupted run is resumed at the first missing file.

    An 8-bit upright grey or RGB JPEG is copied unchanged, whatever its suffix and metadata; any
    other image is turned upright and encoded as JPEG. The images of a split keep their order from
    file to file. A few images at a time are in memory.

    Args:
        samples: images with their boxes.
        out: a folder that is absent, empty, or holds a part of the same records.
        classes: their numbers from 1 are `class/label`.
        root: a folder above all images; names in the records are relative to it.
        clahe: grey with its contrast equalised in 16 x 16 tiles, clipped at 2.0, as in the later
            state of the paper's repository; all images are encoded again.
        shards: files of each split; fewer where a split has fewer images.
        quality: of JPEG, 1 to 100.

    Returns:
        What `out` holds. An image that cannot be read is logged in one line and left out.

    Raises:
        DentalzooError: `out` holds something else or cannot be written, an argument is invalid, no
            image can be used, or TensorFlow is not installed.
    """
    prepare_tensorflow()  # before anything is written
    plan = ShardPlan(samples, out, classes, root=root, clahe=clahe, shards=shards, quality=quality)
    missing = plan.missing()
    count = len(samples) - sum(map(len, missing.values()))
    with (
        logging_redirect_tqdm(),
        tqdm(None, "writing", len(samples), initial=count, disable=None, unit="image") as bar,
    ):
        for name, content in missing.items():
            plan.add(name, plan.writer(out / name, content, bar))
    return plan.report()


class ShardPlan:
    """The files that `write_shards` writes, and what is known of each.

    Args and errors are those of `write_shards`.

    Attributes:
        writer: writes one of them, in any process.
    """

    def __init__(
        self,
        samples: Sequence[BoxSample],
        out: Path,
        classes: Sequence[str],
        *,
        root: Path,
        clahe: bool,
        shards: int,
        quality: int,
    ) -> None:
        check_settings(shards, quality)
        classes = check_class_list(classes)
        make_folder(out, [sample.image for sample in samples])
        self._out, self._root, self._count = out, root, len(samples)
        self._files = _shards(samples, shards)
        self._state = _begin(out, root, samples, classes, self._files, clahe=clahe, quality=quality)
        done = self._state["files"].items()
        self._done = {name: entry for name, entry in done if (out / name).is_file()}
        self.writer = ShardWriter(root, classes, clahe, quality)

    def missing(self) -> dict[str, list[_Numbered]]:
        """Return name -> images of each file that is not there yet."""
        return {name: part for name, part in self._files.items() if name not in self._done}

    def add(self, name: str, entry: dict[str, Any]) -> None:
        """Note a file that was written, and what `writer` returned of it."""
        self._done[name] = entry
        ordered = {name: self._done[name] for name in self._files if name in self._done}
        write_json(self._out / _SETTINGS, {**self._state, "files": ordered})

    def report(self) -> RecordReport:
        """Return what the folder holds.

        Raises:
            DentalzooError: no image can be used.
        """
        report = RecordReport(
            sum(entry["images"] for entry in self._done.values()),
            [(name, reason) for entry in self._done.values() for name, reason in entry["failed"]],
        )
        if not report.written:
            first = ": ".join(report.failed[0]) if report.failed else "no image"
            raise DentalzooError(
                f"{self._root}: none of {self._count} images can be used. Received: {first}"
            )
        return report


def check_settings(shards: int, quality: int) -> None:
    """Check the settings of `write_shards`.

    Raises:
        DentalzooError: one is not an integer in its range.
    """
    for name, value, most in (("shards", shards, 99_999), ("quality", quality, 100)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise DentalzooError(f"{name} must be an integer from 1 to {most}. Received: {value!r}")


def _shards(samples: Sequence[BoxSample], shards: int) -> dict[str, list[_Numbered]]:
    """Return file name -> its images, each with its number from 1 in the data set."""
    files: dict[str, list[_Numbered]] = {}
    numbered = list(enumerate(samples, start=1))
    for split in SPLITS:
        own = [pair for pair in numbered if pair[1].split == split]
        count = min(shards, len(own))
        for shard in range(count):
            name = f"{split}-{shard:05d}-of-{count:05d}.tfrecord"
            files[name] = own[shard * len(own) // count : (shard + 1) * len(own) // count]
    return files


def _begin(
    out: Path,
    root: Path,
    samples: Sequence[BoxSample],
    classes: Sequence[str],
    files: Iterable[str],
    **settings: object,
) -> dict[str, Any]:
    """Return the content of records.json, written if `out` is empty; write the label map.

    Raises:
        DentalzooError: `out` holds other records, or something else.
    """
    content = [(_name(s, root), s.split, s.boxes, *stamp(s.image)[1:]) for s in samples]
    made_of = hashlib.sha256(repr((classes, content, list(files), settings)).encode()).hexdigest()
    state = {"made_of": made_of, "classes": classes, **settings, "files": {}}
    remove_leftovers(out)
    old = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    if not old:  # first: it identifies whatever a killed run leaves behind
        write_json(out / _SETTINGS, state)
    try:
        state = json.loads((out / _SETTINGS).read_bytes())
        same = state["made_of"] == made_of
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        what = "records of other images or settings" if _SETTINGS in old else min(old)
        raise DentalzooError(
            "out must be a new or empty folder, or one with a part of these records. "
            f"Received: {out}, which holds {what}"
        )
    write_atomically(out / _LABEL_MAP, label_map(classes))
    return dict(state)


def _name(sample: BoxSample, root: Path) -> str:
    return sample.image.relative_to(root).as_posix()


class ShardWriter:
    """Writes a file of records; it can be pickled."""

    def __init__(self, root: Path, classes: Sequence[str], clahe: bool, quality: int) -> None:
        self._root, self._clahe, self._quality = root, clahe, quality
        self._ids = {name: number for number, name in enumerate(classes, start=1)}

    def __call__(
        self, path: Path, samples: Sequence[_Numbered], bar: "tqdm[Any] | None" = None
    ) -> dict[str, Any]:
        """Write a file and return what it holds: "images" and "failed" [name, reason]."""
        prepare_tensorflow()
        import tensorflow as tf

        count = 0
        failed: list[list[str]] = []

        def write(file: BinaryIO) -> None:
            nonlocal count
            try:
                with tf.io.TFRecordWriter(file.name) as writer:
                    for (_, sample), record in read_ahead(self.encode, samples):
                        if bar is not None:
                            bar.update()
                        if isinstance(record, DentalzooError):
                            reason = record.reason if isinstance(record, BadFile) else str(record)
                            _log.warning("skipped %s: %s", sample.name, reason)
                            failed.append([sample.name, reason])
                        else:
                            writer.write(record)
                            count += 1
            except tf.errors.OpError as error:
                raise OSError(reason_of(error)) from error

        write_atomically(path, write)
        return {"images": count, "failed": failed}

    def encode(self, item: _Numbered) -> bytes:
        """Return the serialised `tf.train.Example` of (number, sample)."""
        import tensorflow as tf

        number, sample = item
        encoded, (height, width) = self._jpeg(sample.image)
        boxes = sample.boxes
        features: dict[str, list[Any]] = {
            "image/height": [height],
            "image/width": [width],
            "image/filename": [_name(sample, self._root)],
            "image/source_id": [str(number)],  # a decimal number, which evaluators of COCO require
            "image/key/sha256": [hashlib.sha256(encoded).hexdigest()],
            "image/encoded": [encoded],
            "image/format": ["jpeg"],
            "image/object/class/text": [box.label for box in boxes],
            "image/object/class/label": [self._ids[box.label] for box in boxes],
            "image/object/difficult": [int(box.difficult) for box in boxes],
            "image/object/is_crowd": [int(box.crowd) for box in boxes],
        }
        edges = np.array([(b.top, b.left, b.bottom, b.right) for b in boxes], np.float32)
        edges = edges.reshape(-1, 4)
        features |= {f"{BOX}{key}": edges[:, i].tolist() for i, key in enumerate(EDGES)}
        example = tf.train.Example()
        for key, values in features.items():
            if not values:
                continue
            feature = example.features.feature[key]
            if isinstance(values[0], float):
                feature.float_list.value.extend(values)
            elif isinstance(values[0], int):
                feature.int64_list.value.extend(values)
            else:
                content = (v.encode() if isinstance(v, str) else v for v in values)
                feature.bytes_list.value.extend(content)
        serialised: bytes = example.SerializeToString(deterministic=True)
        return serialised

    def _jpeg(self, path: Path) -> tuple[bytes, tuple[int, int]]:
        """Return the image as JPEG, and its (height, width).

        It is decoded even where it is copied, so that a damaged file is reported here.
        """
        image = read_image(path, 1 if self._clahe else None)
        if self._clahe:
            image = cv2.createCLAHE(_CLIP, _TILES).apply(image[..., 0])
        elif content := plain_jpeg(path):
            return content, (image.shape[0], image.shape[1])
        stream = io.BytesIO()
        img = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
        img.save(stream, format="JPEG", quality=self._quality)
        return stream.getvalue(), (image.shape[0], image.shape[1])
