"""Read TFRecord files of `tf.train.Example` with the keys of the TF Object Detection API.

Images are not copied: a `StoredImage` knows its bytes in a record file and opens like a file.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dentalzoo.data.formats.base import (
    ImageAnnotation,
    ParsedAnnotations,
    Purpose,
    RawBox,
    merge_names,
    notice_once,
    parse_size,
)
from dentalzoo.data.formats.label_maps import read_label_items
from dentalzoo.data.formats.tree import FileEntry, Folder, Tree, split_of_file
from dentalzoo.data.io.stored import StoredImage
from dentalzoo.environment import prepare_tensorflow
from dentalzoo.errors import BadFile, reason_of

BOX = "image/object/bbox/"
EDGES = ("ymin", "xmin", "ymax", "xmax")
_HEADER, _FOOTER = 12, 4  # bytes around a record: its length with a checksum, and a checksum
_SHARD = re.compile(r"(\d{1,9})-of-(\d{1,9})")


def sniff(tree: Tree) -> str:
    """Name the record files; none is opened."""
    if not tree.records:
        return ""
    more = f" and {len(tree.records) - 1} more" if len(tree.records) > 1 else ""
    return f"TFRecord files ({tree.name(tree.records[0])}{more})"


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Read the images and boxes of all record files of a tree, whatever program wrote them.

    `class/text` decides the class; `class/label` alone means the id of the label map, if there is
    one: some tools write labels from 0 beside a label map from 1. Records behind a damaged one are
    lost.

    Raises:
        BadFile: a label map is broken.
    """
    parsed = ParsedAnnotations()
    if not tree.records:
        return parsed
    items = [read_label_items(path) for path in tree.notes_of(".pbtxt")]
    parsed.classes = merge_names(names.values() for names in items) if items else None
    names_of = {number: name for names in reversed(items) for number, name in names.items()}
    for file in tqdm(tree.records, "reading records", leave=False, disable=None):
        folder = Folder(file.parent, "images", (), split_of_file(tree, file), [])
        number = 0
        try:
            for number, (offset, record) in enumerate(_records(file), start=1):
                try:
                    image, annotation = _annotation(tree, file, number, offset, record, names_of)
                except ValueError as error:
                    parsed.refuse(f"{tree.name(file)}, record {number}", str(error))
                    continue
                if image in parsed.annotations and image.location:  # another one of the same name
                    path = file / str(number) / image.name
                    image = StoredImage.at(path, *image.location)
                parsed.images.append(FileEntry(image, folder, split=folder.split))
                parsed.assign([image], annotation)
        except BadFile as error:
            parsed.refuse(f"{tree.name(file)}, record {number + 1}", error.reason)
    for name, reason in _missing_shards(tree):
        parsed.refuse(name, reason)
    return parsed


def _records(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, content) of each record; checksums are compared.

    Raises:
        BadFile: a record is damaged; all before it have been yielded.
    """
    prepare_tensorflow()
    import tensorflow as tf

    offset = _HEADER
    try:
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            yield offset, record
            offset += len(record) + _FOOTER + _HEADER
    except tf.errors.OpError as error:
        raise BadFile(
            file,
            "damaged, cut off or compressed; the rest is not read. "
            f"Received: {reason_of(error)[:120]}",
        ) from error
    if offset == _HEADER:
        raise BadFile(file, "must hold records. Received: an empty file")


def _missing_shards(tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield (file, reason) of the shards that are missing, by the names of the others."""
    there: dict[tuple[Path, str, str, str], set[int]] = defaultdict(set)
    for file in tree.records:
        if match := _SHARD.search(file.name):
            before, after = file.name[: match.start()], file.name[match.end() :]
            there[file.parent, before, match[2], after].add(int(match[1]))
    for (folder, before, count, after), numbers in there.items():
        first = next((n for n in range(int(count)) if n not in numbers), None)
        if first is not None:
            name = f"{before}{first:0{len(count)}d}-of-{count}{after}"
            lost = int(count) - len(numbers)
            yield tree.name(folder / name), f"{lost} of {int(count)} shards missing, this one first"


def _annotation(
    tree: Tree, file: Path, number: int, offset: int, record: bytes, names: dict[int, str]
) -> tuple[StoredImage, ImageAnnotation]:
    """Return an image and its boxes.

    Raises:
        ValueError: the record does not hold them.
    """
    values = _values(record)
    encoded = _one(values, "image/encoded", b"")
    if not encoded:
        raise ValueError(f"must have image/encoded. Received: {', '.join(sorted(values))[:120]}")
    names_in_path = _text(_one(values, "image/filename", b"")).replace("\\", "/").split("/")
    parts = [
        part
        for part in names_in_path
        if part.strip(". ") and ":" not in part and part.isprintable()
    ]
    path = file.parent.joinpath(*parts) if parts else file / str(number)
    image = StoredImage.at(path, file, offset + record.find(encoded), len(encoded))
    name = f"{tree.name(file)}, record {number}"
    size = parse_size(_one(values, "image/height", 0), _one(values, "image/width", 0))
    annotation = ImageAnnotation(file, name, size, "pixels" if size else "parts")
    columns = [values.get(f"{BOX}{key}", []) for key in EDGES]
    counts = [len(column) for column in columns]
    if len(set(counts)) > 1:
        raise ValueError(f"must have as many {', '.join(EDGES)} as boxes. Received: {counts}")
    texts = [_text(text) for text in values.get("image/object/class/text", [])]
    ids = values.get("image/object/class/label", [])
    labels = texts or [names.get(i, str(i)) for i in ids]
    if len(labels) != counts[0]:
        raise ValueError(
            f"must have a class for each of {counts[0]} boxes. Received: {len(labels)}"
        )
    flags = [_flags(values, key, counts[0]) for key in ("difficult", "is_crowd")]
    if "image/object/mask" in values:
        notice_once("image/object/mask of the records is not read, the boxes are", file.parent)
    height, width = size or (1, 1)
    for row, (label, difficult, crowd, *edges) in enumerate(
        zip(labels, *flags, *columns, strict=True), start=1
    ):
        top, left, bottom, right = map(float, edges)
        pixels = top * height, left * width, bottom * height, right * width
        annotation.boxes.append(RawBox(label, pixels, f"box {row}", difficult, crowd))
    return image, annotation


def _values(record: bytes) -> dict[str, list[Any]]:
    """Return the features of a `tf.train.Example` that are not empty.

    Raises:
        ValueError: the record is not a `tf.train.Example`.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        features = tf.train.Example.FromString(record).features.feature
    except DecodeError as error:
        raise ValueError(f"must be a tf.train.Example. Received: {error}") from error
    kinds = {key: feature.WhichOneof("kind") for key, feature in features.items()}
    values = {key: list(getattr(features[key], kind).value) for key, kind in kinds.items() if kind}
    return {key: feature for key, feature in values.items() if feature}


def _flags(values: dict[str, list[Any]], key: str, count: int) -> list[bool]:
    flags = values.get(f"image/object/{key}", [])
    return [flag == 1 for flag in flags] if len(flags) == count else [False] * count


def _one(values: dict[str, list[Any]], key: str, default: Any) -> Any:
    """Return the first value of a feature; the default where it is absent or of another type."""
    value = values.get(key, [default])[0]
    return value if isinstance(value, type(default)) else default


def _text(content: object) -> str:
    return content.decode(errors="replace") if isinstance(content, bytes) else str(content)
