"""The checkpoint of a SavedModel: its index, compared with the file of the values.

The index is a table of TensorFlow (that of LevelDB): sorted blocks of names and entries, one block
that lists these, and a footer. TensorFlow allocates what the entries state before it reads a value,
and trusts the sizes of blocks.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dentalzoo.bundle.guard.refusal import Unsafe
from dentalzoo.bundle.guard.tensors import BYTES, STRING, elements

INDEX, VALUES = "variables.index", "variables.data-00000-of-00001"
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_LARGEST = 2**26  # bytes of an index; 500 variables take 30 kB
_MAGIC = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
_FOOTER, _TRAILER = 48, 5


class Damaged(ValueError):
    """The index is not a table, or its entries do not fit the file of the values."""


def check_checkpoint(folder: Path, variables: int) -> None:
    """Check the files of a checkpoint.

    Args:
        folder: the folder `variables`.
        variables: the bytes that the variables of the SavedModel take.

    Raises:
        OSError: a file cannot be read.
        Damaged: the index does not fit the values.
        Unsafe: it restores more than values of variables, or there are fewer of them than stated.
    """
    from google.protobuf.message import DecodeError

    if (folder / INDEX).stat().st_size > _LARGEST:
        raise Unsafe(f"{INDEX} of more than {_LARGEST} bytes")
    size = (folder / VALUES).stat().st_size
    try:
        objects = _check_entries(_entries((folder / INDEX).read_bytes()), size)
        with open(folder / VALUES, "rb") as file:
            file.seek(objects.offset)
            _check_object_graph(file.read(objects.size))
    except (DecodeError, IndexError, UnicodeDecodeError) as error:
        raise Damaged(f"{INDEX} is not an index of a checkpoint ({error})") from None
    if variables > size:
        raise Unsafe(f"variables of {variables} bytes, whose values have {size}")


def _check_entries(entries: Iterator[tuple[str, bytes]], size: int) -> Any:
    """Check the entries against the size of the values; return that of the object graph."""
    from tensorflow.core.protobuf import tensor_bundle_pb2

    found, names, total = None, set[str](), 0
    for name, content in entries:
        if name in names:
            raise Damaged(f"two entries of the name {name!r}")
        names.add(name)
        if not name:
            header = tensor_bundle_pb2.BundleHeaderProto.FromString(content)
            if header.num_shards != 1 or header.endianness != header.LITTLE:
                raise Damaged(f"{header.num_shards} files of values in place of one")
            continue
        entry = tensor_bundle_pb2.BundleEntryProto.FromString(content)
        total += entry.size
        if entry.shard_id or entry.slices or entry.dtype not in BYTES:
            raise Unsafe(f"{name}, which is no value of a variable")
        if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > size or total > size:
            raise Damaged(f"{name!r} lies outside of {VALUES}")
        if entry.dtype == STRING:
            if name != _OBJECTS or entry.shape.dim:
                raise Unsafe(f"strings as values of the variable {name}")
            found = entry
        elif BYTES[entry.dtype] * elements(entry.shape) != entry.size:
            raise Damaged(f"{name!r} has {entry.size} bytes, not those of its shape")
    if "" not in names or found is None:
        raise Damaged(f"{INDEX} has no header or no objects")
    return found


def _check_object_graph(content: bytes) -> None:
    """Check the string that says which object has which values: a length, its sum, the bytes."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    length, start = _number(content, 0)
    if start + 4 + length != len(content):
        raise Damaged("the objects of the checkpoint are incomplete")
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(content[start + 4 :])
    for node in graph.nodes:
        if node.registered_saver.name or node.slot_variables:
            raise Unsafe("an object of the checkpoint that restores itself")


def _entries(table: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the names and the entries of a table."""
    footer = table[-_FOOTER:]
    if len(footer) < _FOOTER or not footer.endswith(_MAGIC):
        raise Damaged(f"{INDEX} is not the index of a checkpoint")
    place = _handle(footer, _handle(footer, 0)[2])
    for _, handle in _block(table, *place[:2]):
        for name, content in _block(table, *_handle(handle, 0)[:2]):
            yield name.decode(), content


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block; a key may share its beginning with the one before."""
    if offset + size + _TRAILER > len(table) or size < 8 or table[offset + size] != 0:
        raise Damaged(f"{INDEX} has a block outside of it, or a compressed one")
    block = table[offset : offset + size]
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")
    key, place = b"", 0
    while place < end:
        shared, place = _number(block, place)
        rest, place = _number(block, place)
        length, place = _number(block, place)
        if shared > len(key) or place + rest + length > end:
            raise Damaged(f"{INDEX} has an entry outside of its block")
        key = key[:shared] + block[place : place + rest]
        place += rest + length
        yield key, block[place - length : place]
    if place != end:
        raise Damaged(f"{INDEX} has a block of another length")


def _handle(content: bytes, place: int) -> tuple[int, int, int]:
    """Return the offset and the size of a block, and the place behind them."""
    offset, place = _number(content, place)
    size, place = _number(content, place)
    return offset, size, place


def _number(content: bytes, place: int) -> tuple[int, int]:
    """Return a number of 7 bits in each byte, the lowest first, and the place behind it."""
    number = 0
    for shift in range(0, 64, 7):
        number |= (content[place] & 127) << shift
        place += 1
        if content[place - 1] < 128:
            return number, place
    raise Damaged(f"{INDEX} has a number of more than 64 bits")
