"""Reads TFRecord files of `tf.train.Example` with the keys of the TF Object Detection API.

The images stay where they are: a `RecordedImage` knows its place in a file and opens as a file
does, so that every rule for images holds for them too.
"""

import io
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG

from tqdm import tqdm

from dentalzoo.data.formats.annotations import Drawing, DrawnBox, Found, merged, told_size
from dentalzoo.data.formats.image_files import FileEntry
from dentalzoo.data.formats.label_maps import read_label_items
from dentalzoo.data.formats.tree import Folder, Tree, coco_split
from dentalzoo.errors import BadFile, reason_of

BOX = "image/object/bbox/"
EDGES = ("ymin", "xmin", "ymax", "xmax")
_HEADER, _FOOTER = 12, 4  # bytes around a record: its length with a checksum, and a checksum
_SHARD = re.compile(r"(\d{1,9})-of-(\d{1,9})")


class RecordedImage(type(Path())):
    """An image inside of a record file, under the path that it would have beside it.

    It opens as a file does; its size and time are those of the record file.

    Attributes:
        place: (record file, offset, length) of the encoded image; None for a path that was
            derived from this one, which is a path as any other.
    """

    place: tuple[Path, int, int] | None = None

    @classmethod
    def at(cls, path: Path, file: Path, offset: int, length: int) -> "RecordedImage":
        """The image `path` in bytes `offset` to `offset + length` of `file`."""
        image = cls(path)
        image.place = file, offset, length
        return image

    def open(self, mode="r", *args, **options):
        if self.place is None:
            return super().open(mode, *args, **options)
        file, offset, length = self.place
        with open(file, "rb") as stream:
            stream.seek(offset)
            return io.BytesIO(stream.read(length))

    def stat(self, **options):
        return super().stat(**options) if self.place is None else self.place[0].stat(**options)

    def is_file(self, **options) -> bool:
        try:
            return S_ISREG(self.stat(**options).st_mode)
        except OSError:
            return False


def read_records(tree: Tree) -> tuple[Found, list[FileEntry]]:
    """The images and boxes of all record files of a tree, whoever wrote them.

    `class/text` decides the class; `class/label` alone means the id of the label map, if there is
    one: some tools write labels from 0 beside a label map from 1. What lies behind a damaged
    record is lost.

    Raises:
        BadFile: a label map is broken.
    """
    found, files = Found(), []
    items = [read_label_items(path) for path in tree.notes if path.suffix.lower() == ".pbtxt"]
    found.names = merged(names.values() for names in items) if items else None
    names_of = {number: name for names in reversed(items) for number, name in names.items()}
    for file in tqdm(tree.records, "reading records", leave=False, disable=None):
        folder = Folder(file.parent, "images", (), coco_split(tree, file), [])
        number = 0
        try:
            for number, (offset, record) in enumerate(_records(file), start=1):
                try:
                    image, drawing = _drawn(tree, file, number, offset, record, names_of)
                except ValueError as error:
                    found.refuse(f"{tree.name(file)}, record {number}", str(error))
                    continue
                if image in found.drawings:  # another one of the same name
                    place = file / str(number) / image.name
                    image = RecordedImage.at(place, *image.place)
                files.append(FileEntry(image, folder, split=folder.split))
                found.place([image], drawing)
        except BadFile as error:
            found.refuse(f"{tree.name(file)}, record {number + 1}", error.reason)
    for name, reason in _missing(tree):
        found.refuse(name, reason)
    return found, files


def _records(file: Path) -> Iterator[tuple[int, bytes]]:
    """(offset, content) of each record, its checksums compared.

    Raises:
        BadFile: at the place of the damage, when all before it has been read.
    """
    import tensorflow as tf

    offset = _HEADER
    try:
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            yield offset, record
            offset += len(record) + _FOOTER + _HEADER
    except tf.errors.OpError as error:
        raise BadFile(
            file,
            "damaged, cut off or compressed; it is not read from here on. "
            f"Received: {reason_of(error)[:120]}",
        ) from error
    if offset == _HEADER:
        raise BadFile(file, "expected records. Received: an empty file")


def _missing(tree: Tree) -> Iterator[tuple[str, str]]:
    """(file, reason) of the shards that the names of the others tell of."""
    there = defaultdict(set)
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


def _drawn(
    tree: Tree, file: Path, number: int, offset: int, record: bytes, names: dict[int, str]
) -> tuple[RecordedImage, Drawing]:
    """An image and its boxes; raises ValueError where the record does not hold them."""
    values = _values(record)
    encoded = _one(values, "image/encoded", b"")
    if not encoded:
        raise ValueError(f"expected image/encoded. Received: {', '.join(sorted(values))[:120]}")
    told = _text(_one(values, "image/filename", b"")).replace("\\", "/").split("/")
    parts = [part for part in told if part.strip(". ") and ":" not in part and part.isprintable()]
    path = file.parent.joinpath(*parts) if parts else file / str(number)
    image = RecordedImage.at(path, file, offset + record.find(encoded), len(encoded))
    name = f"{tree.name(file)}, record {number}"
    size = told_size(_one(values, "image/height", 0), _one(values, "image/width", 0))
    drawing = Drawing(file, name, size, "pixels" if size else "parts")
    columns = [values.get(f"{BOX}{key}", []) for key in EDGES]
    counts = [len(column) for column in columns]
    if len(set(counts)) > 1:
        raise ValueError(f"expected as many {', '.join(EDGES)} as boxes. Received: {counts}")
    texts = [_text(text) for text in values.get("image/object/class/text", [])]
    ids = values.get("image/object/class/label", [])
    labels = texts or [names.get(i, str(i)) for i in ids]
    if len(labels) != counts[0]:
        raise ValueError(f"expected a class for each of {counts[0]} boxes. Received: {len(labels)}")
    flags = [_flags(values, key, counts[0]) for key in ("difficult", "is_crowd")]
    scale = (size or (1, 1)) * 2
    for row, (label, difficult, crowd, *edges) in enumerate(
        zip(labels, *flags, *columns, strict=True), start=1
    ):
        edges = tuple(float(edge) * length for edge, length in zip(edges, scale, strict=True))
        drawing.boxes.append(DrawnBox(label, edges, f"box {row}", difficult, crowd))
    return image, drawing


def _values(record: bytes) -> dict[str, list]:
    """The features of a `tf.train.Example` that are not empty.

    Raises:
        ValueError: it is none.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        features = tf.train.Example.FromString(record).features.feature
    except DecodeError as error:
        raise ValueError(f"expected a tf.train.Example. Received: {error}") from error
    kinds = {key: feature.WhichOneof("kind") for key, feature in features.items()}
    values = {key: list(getattr(features[key], kind).value) for key, kind in kinds.items() if kind}
    return {key: found for key, found in values.items() if found}


def _flags(values: dict[str, list], key: str, count: int) -> list[bool]:
    found = values.get(f"image/object/{key}", [])
    return [flag == 1 for flag in found] if len(found) == count else [False] * count


def _one(values: dict[str, list], key: str, default):
    found = values.get(key, [default])[0]
    return found if isinstance(found, type(default)) else default


def _text(content) -> str:
    return content.decode(errors="replace") if isinstance(content, bytes) else str(content)
