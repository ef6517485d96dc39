"""Writes images with boxes as TFRecord files with the keys of the TF Object Detection API.

`out`/
    train-00000-of-00008.tfrecord   a `tf.train.Example` for each image; also val-..., test-...
    label_map.pbtxt                 the numbers 1..n of the classes
    records.json                    what the records are made of, and what each file holds
"""

import hashlib
import io
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dentalzoo.atomic import remove_leftovers, stamp, write_atomically, write_json
from dentalzoo.data.boxes import BoxSample, find_boxes
from dentalzoo.data.formats.label_maps import label_map
from dentalzoo.data.formats.tfrecord import BOX, EDGES
from dentalzoo.data.formats.tree import SPLITS
from dentalzoo.data.io.decode import plain_jpeg
from dentalzoo.data.io.images import read_image
from dentalzoo.data.pipeline.prefetch import read_ahead
from dentalzoo.errors import BadFile, DentalzooError, reason_of
from dentalzoo.output_dirs import make_folder

_log = logging.getLogger("dentalzoo")

_CLIP, _TILES = 2.0, (16, 16)  # clemkoa/tooth-detection, data_preprocessing.py
_RECORDS, _LABEL_MAP = "records.json", "label_map.pbtxt"


@dataclass
class RecordReport:
    """How many images lie in the records now, and (name, reason) of those that cannot be read."""

    written: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def write_records(
    data: str | Path,
    out: str | Path,
    *,
    classes: Sequence[str] | None = None,
    clahe: bool = False,
    skip_empty: bool = False,
    shards: int = 8,
    quality: int = 95,
    val_fraction: float = 0.1,
) -> RecordReport:
    """Writes the records of all splits; after a kill the same call goes on at the first file that
    is not there.

    An 8-bit upright grey or RGB JPEG is taken as it is, under whatever suffix and with whatever it
    tells of itself; any other image is turned upright and encoded as JPEG. The images of a
    split keep their order from file to file. In memory there are a few at a time.

    Args:
        data: a folder in a layout of docs/data_formats.md.
        out: a folder that is absent, empty, or holds a part of these very records.
        classes: as for `find_boxes`; their numbers from 1 are `class/label`.
        clahe: grey with its contrast equalised in 16 x 16 tiles, clipped at 2.0, as in the later
            state of the paper's repository; all images are encoded anew.
        skip_empty: leave out images without boxes, as the paper's repository does.
        shards: files of each split; fewer where a split has fewer images.
        quality: of JPEG, 1 to 100.
        val_fraction: as for `find_boxes`.

    Returns:
        What `out` holds. An image that cannot be read is logged in one line and left out.

    Raises:
        DentalzooError: as `find_boxes`; `out` holds something else or cannot be written, an
            argument is out of place, or no image can be used.
    """
    for name, value, most in (("shards", shards, 99_999), ("quality", quality, 100)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise DentalzooError(f"{name} is a whole number from 1 to {most}. Received: {value!r}")
    out = Path(out)
    found = find_boxes(data, classes=classes, val_fraction=val_fraction)
    samples = [sample for sample in found.samples if sample.boxes or not skip_empty]
    if not samples:
        raise DentalzooError(
            f"{data}: no image has a box of the classes {', '.join(found.classes)}. "
            f"Received: {len(found)} images"
        )
    make_folder(out, [sample.image for sample in samples])
    files = _shards(samples, shards)
    state = _begin(out, Path(data), samples, found.classes, files, clahe=clahe, quality=quality)
    done = {name: entry for name, entry in state["files"].items() if (out / name).is_file()}
    encode = _Encoder(Path(data), found.classes, clahe, quality)
    count = sum(len(files[name]) for name in done)
    with (
        logging_redirect_tqdm(),
        tqdm(None, "writing", len(samples), initial=count, disable=None, unit="image") as bar,
    ):
        for name, content in files.items():
            if name not in done:
                done[name] = _write_shard(out / name, content, encode, bar)
                write_json(out / _RECORDS, {**state, "files": done})
    report = RecordReport(
        sum(entry["images"] for entry in done.values()),
        [tuple(pair) for entry in done.values() for pair in entry["failed"]],
    )
    if not report.written:
        raise DentalzooError(
            f"{data}: none of {len(samples)} images can be used. Received: "
            f"{': '.join(report.failed[0])}"
        )
    return report


def _shards(samples: Sequence[BoxSample], shards: int) -> dict[str, list[tuple[int, BoxSample]]]:
    """File name -> its images, each with its number from 1 in the data set."""
    files = {}
    numbered = list(enumerate(samples, start=1))
    for split in SPLITS:
        own = [pair for pair in numbered if pair[1].split == split]
        count = min(shards, len(own))
        for shard in range(count):
            name = f"{split}-{shard:05d}-of-{count:05d}.tfrecord"
            files[name] = own[shard * len(own) // count : (shard + 1) * len(own) // count]
    return files


def _begin(out: Path, data: Path, samples, classes, files, **settings) -> dict:
    """What records.json holds, which is written if `out` is empty; writes the label map.

    Raises:
        DentalzooError: `out` holds other records, or something else.
    """
    content = [(_name(s, data), s.split, s.boxes, *stamp(s.image)[1:]) for s in samples]
    made_of = hashlib.sha256(repr((classes, content, list(files), settings)).encode()).hexdigest()
    state = {"made_of": made_of, "classes": classes, **settings, "files": {}}
    remove_leftovers(out)
    old = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    if not old:  # first, so that whatever a kill leaves is known for what it is
        write_json(out / _RECORDS, state)
    try:
        state = json.loads((out / _RECORDS).read_bytes())
        same = state["made_of"] == made_of
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        what = "records of other images or settings" if _RECORDS in old else min(old)
        raise DentalzooError(
            f"out is a new or empty folder, or one with a part of these records. Received: {out}, "
            f"which holds {what}"
        )
    write_atomically(out / _LABEL_MAP, label_map(classes))
    return state


def _name(sample: BoxSample, data: Path) -> str:
    return sample.image.relative_to(data).as_posix()


def _write_shard(path: Path, samples, encode: "_Encoder", bar: tqdm) -> dict:
    """Writes a file and returns what it holds: "images" and "failed" [name, reason]."""
    import tensorflow as tf

    made = {"images": 0, "failed": []}

    def write(file) -> None:
        try:
            with tf.io.TFRecordWriter(file.name) as writer:
                for (_, sample), record in read_ahead(encode, samples):
                    bar.update()
                    if isinstance(record, DentalzooError):
                        reason = record.reason if isinstance(record, BadFile) else str(record)
                        _log.warning("skipped %s: %s", sample.name, reason)
                        made["failed"].append([sample.name, reason])
                    else:
                        writer.write(record)
                        made["images"] += 1
        except tf.errors.OpError as error:
            raise OSError(reason_of(error)) from error

    write_atomically(path, write)
    return made


class _Encoder:
    """(number, sample) -> the serialised `tf.train.Example` of an image."""

    def __init__(self, data: Path, classes: Sequence[str], clahe: bool, quality: int):
        self._data, self._clahe, self._quality = data, clahe, quality
        self._ids = {name: number for number, name in enumerate(classes, start=1)}

    def __call__(self, item: tuple[int, BoxSample]) -> bytes:
        import tensorflow as tf

        number, sample = item
        encoded, (height, width) = self._jpeg(sample.image)
        boxes = sample.boxes
        features = {
            "image/height": [height],
            "image/width": [width],
            "image/filename": [_name(sample, self._data)],
            "image/source_id": [str(number)],  # a decimal number, as evaluators of COCO ask for
            "image/key/sha256": [hashlib.sha256(encoded).hexdigest()],
            "image/encoded": [encoded],
            "image/format": ["jpeg"],
            "image/object/class/text": [box.label for box in boxes],
            "image/object/class/label": [self._ids[box.label] for box in boxes],
            "image/object/difficult": [int(box.difficult) for box in boxes],
            "image/object/is_crowd": [int(box.crowd) for box in boxes],
        }
        edges = np.float32([(b.top, b.left, b.bottom, b.right) for b in boxes]).reshape(-1, 4)
        features |= {f"{BOX}{key}": edges[:, i].tolist() for i, key in enumerate(EDGES)}
        made = tf.train.Example()
        for key, values in features.items():
            if not values:
                continue
            feature = made.features.feature[key]
            if isinstance(values[0], float):
                feature.float_list.value.extend(values)
            elif isinstance(values[0], int):
                feature.int64_list.value.extend(values)
            else:
                values = (v.encode() if isinstance(v, str) else v for v in values)
                feature.bytes_list.value.extend(values)
        return made.SerializeToString(deterministic=True)

    def _jpeg(self, path: Path) -> tuple[bytes, tuple[int, int]]:
        """The image as JPEG, and its (height, width); read whole, so that damage is told here."""
        image = read_image(path, 1 if self._clahe else None)
        if self._clahe:
            image = cv2.createCLAHE(_CLIP, _TILES).apply(image[..., 0])
        elif content := plain_jpeg(path):
            return content, image.shape[:2]
        stream = io.BytesIO()
        img = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
        img.save(stream, format="JPEG", quality=self._quality)
        return stream.getvalue(), image.shape[:2]
