"""The index of a checkpoint is compared with its values before TensorFlow allocates anything."""

import pytest

from dentalzoo.bundle.guard import checkpoint
from dentalzoo.bundle.guard.checkpoint import INDEX, VALUES, Damaged, check_checkpoint
from dentalzoo.bundle.guard.refusal import Unsafe


def _number(value):
    content = b""
    while value > 127:
        content += bytes([value & 127 | 128])
        value >>= 7
    return content + bytes([value])


def _block(entries):
    content = b"".join(
        _number(0) + _number(len(key)) + _number(len(value)) + key + value for key, value in entries
    )
    return content + bytes(4) + (1).to_bytes(4, "little")


def _table(entries, compressed=0, size=None):
    """A table of one block, as TensorFlow writes it but for the sums."""
    block = _block(sorted(entries.items()))
    listed = _block([(b"z", _number(0) + _number(size or len(block)))])
    start = len(block) + 5
    handles = _number(0) + _number(0) + _number(start) + _number(len(listed))
    trailer = bytes([compressed]) + bytes(4)
    footer = handles.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")
    return block + trailer + listed + bytes(5) + footer


@pytest.fixture
def make(tmp_path):
    """Write a checkpoint of one variable of 2 x 3 floats; return its folder."""

    def write(header=None, entry=None, node=None, extra=None, **table):
        from tensorflow.core.protobuf import tensor_bundle_pb2 as bundle
        from tensorflow.core.protobuf import trackable_object_graph_pb2 as objects

        graph = objects.TrackableObjectGraph()
        graph.nodes.add(**(node or {}))
        text = graph.SerializeToString()
        string = _number(len(text)) + bytes(4) + text
        (tmp_path / VALUES).write_bytes(bytes(24) + string)
        one = {"dtype": 1, "size": 24, "shape": {"dim": [{"size": 2}, {"size": 3}]}} | (entry or {})
        entries = {
            b"": bundle.BundleHeaderProto(**({"num_shards": 1} | (header or {}))),
            b"_CHECKPOINTABLE_OBJECT_GRAPH": bundle.BundleEntryProto(
                dtype=7, shape={}, offset=24, size=len(string)
            ),
            b"a": bundle.BundleEntryProto(**one),
        } | {name: bundle.BundleEntryProto(**value) for name, value in (extra or {}).items()}
        content = {name: value.SerializeToString() for name, value in entries.items()}
        (tmp_path / INDEX).write_bytes(_table(content, **table))
        return tmp_path

    return write


def test_a_good_checkpoint_passes(make):
    check_checkpoint(make(), variables=24)


@pytest.mark.parametrize(
    ("error", "what", "changes"),
    [
        (Damaged, "2 files of values", {"header": {"num_shards": 2}}),
        (Damaged, "files of values", {"header": {"endianness": 1}}),
        (Damaged, "not those of its shape", {"entry": {"shape": {"dim": [{"size": 10**9}]}}}),
        (Unsafe, "unknown shape", {"entry": {"shape": {"dim": [{"size": -1}]}}}),
        (Damaged, "lies outside", {"entry": {"offset": 10**9}}),
        (Damaged, "lies outside", {"entry": {"offset": -1}}),
        (Damaged, "lies outside", {"entry": {"size": 4 * 10**9, "shape": {}}}),
        (Unsafe, "no value of a variable", {"entry": {"dtype": 20}}),
        (Unsafe, "no value of a variable", {"entry": {"shard_id": 1}}),
        (Unsafe, "no value of a variable", {"entry": {"slices": [{}]}}),
        (Unsafe, "strings as values", {"entry": {"dtype": 7}}),
        (Unsafe, "restores itself", {"node": {"registered_saver": {"name": "x"}}}),
        (Unsafe, "restores itself", {"node": {"slot_variables": [{}]}}),
        (Damaged, "compressed", {"compressed": 1}),
        (Damaged, "block outside", {"size": 10**15}),
        (
            Damaged,
            "lies outside",
            {"extra": {b"b": {"dtype": 1, "size": 24, "shape": {"dim": [{"size": 6}]}}}},
        ),
    ],
)
def test_an_index_that_does_not_fit_the_values_is_refused(make, error, what, changes):
    with pytest.raises(error, match=what):
        check_checkpoint(make(**changes), variables=24)


def test_variables_larger_than_their_values_are_refused(make):
    with pytest.raises(Unsafe, match="variables of 4000000000 bytes"):
        check_checkpoint(make(), variables=4 * 10**9)


def test_an_index_cut_or_changed_anywhere_ends_in_an_error_of_its_own(make):
    folder = make()
    content = (folder / INDEX).read_bytes()
    for length in range(len(content)):
        (folder / INDEX).write_bytes(content[:length])
        with pytest.raises(Damaged):
            check_checkpoint(folder, variables=0)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        (folder / INDEX).write_bytes(changed)
        try:
            check_checkpoint(folder, variables=0)
        except (Damaged, Unsafe) as error:
            assert "\n" not in str(error)


def test_a_large_index_is_not_read(make, monkeypatch):
    monkeypatch.setattr(checkpoint, "_LARGEST", 10)
    with pytest.raises(Unsafe, match="of more than 10 bytes"):
        check_checkpoint(make(), variables=0)
