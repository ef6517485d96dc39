"""Constants of ONNX files in fewer bytes: the values stay what they were."""

import numpy as np
import pytest

from dentalzoo.exporters import _packed as packing


def decoded(form, dtype):
    value = form.stored.astype(dtype)
    if form.scale is not None:
        value = value * form.scale
    return value if form.offset is None else value + form.offset


def int8_weights(*shape, channel):
    """As `bundle.weights` decodes them."""
    random = np.random.default_rng(0)
    value = random.standard_normal(shape).astype(np.float32)
    axes = tuple(axis for axis in range(len(shape)) if axis != channel)
    scale = np.abs(value).max(axis=axes, keepdims=True) / np.float32(127)
    return np.round(value / scale).astype(np.int8) * scale


@pytest.mark.parametrize("channel", range(4))
def test_weights_of_int8_become_int8(channel):
    value = int8_weights(5, 6, 7, 8, channel=channel)
    value[(slice(None),) * channel + (2,)] = 0  # a channel that does nothing
    form = packing.form(value)
    assert form.stored.dtype == np.int8 and form.scale.size == value.shape[channel]
    np.testing.assert_array_equal(decoded(form, np.float32), value)


def test_a_normalisation_folded_into_weights_changes_the_last_bits_alone():
    factor = np.random.default_rng(1).uniform(0.1, 9, (64, 1, 1, 1)).astype(np.float32)
    value = int8_weights(64, 32, 3, 3, channel=0) * factor
    form = packing.form(value)
    assert form.stored.dtype == np.int8
    np.testing.assert_allclose(decoded(form, np.float32), value, rtol=packing.MAX_ERROR, atol=0)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (np.arange(400, dtype=np.float32), np.float16),  # a vector has no channels
        (np.full((9, 50), 3, np.int64), np.uint8),
        (np.arange(-1, 60000, dtype=np.int32), np.uint16),
        (np.arange(70000, 70900, dtype=np.int64), np.uint16),
    ],
)
def test_other_values_take_the_bytes_that_they_need(value, stored):
    form = packing.form(value)
    assert form.stored.dtype == stored
    np.testing.assert_array_equal(decoded(form, value.dtype), value)


@pytest.mark.parametrize(
    "value",
    [
        np.random.default_rng(0).standard_normal((30, 30)).astype(np.float32),
        np.array([[0.1], [1e30], [0.3]] * 100, np.float32),  # a scale for each would be longer
        np.full((9, 9), 1e-44, np.float32),
        np.array([[0, np.inf], [1, 2]], np.float32),
        np.array([0, 70000], np.int32),
        np.array([0, 2**40], np.int64),
        np.array([0.5], np.float64),
    ],
)
def test_other_values_stay(value):
    assert packing.form(value) is None


def test_a_packed_file_computes_the_same():
    """A product in the graph, and one in a branch whose weights lie in it."""
    onnx, ort = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    node, constant = onnx.helper.make_node, onnx.numpy_helper.from_array
    tensor = onnx.helper.make_tensor_value_info
    weights = int8_weights(64, 64, channel=1)
    branches = {
        f"{name}_branch": onnx.helper.make_graph(
            [node("MatMul", ["x", f"w_{name}"], [name])],
            name,
            [],
            [tensor(name, onnx.TensorProto.FLOAT, (2, 64))],
            [constant(weights + number, f"w_{name}")],
        )
        for number, name in enumerate(["then", "else"])
    }
    graph = onnx.helper.make_graph(
        [
            node("MatMul", ["images", "w"], ["x"]),
            node("Gather", ["faces", "number"], ["chosen"], axis=0),
            node("If", ["flag"], ["result"], **branches),
        ],
        "graph",
        [
            tensor("images", onnx.TensorProto.FLOAT, (2, 64)),
            tensor("flag", onnx.TensorProto.BOOL, ()),
            tensor("number", onnx.TensorProto.INT64, ()),
        ],
        [
            tensor("result", onnx.TensorProto.FLOAT, (2, 64)),
            tensor("chosen", onnx.TensorProto.INT32, (1000, 3)),
        ],
        [
            constant(weights, "w"),
            constant(np.arange(-1, 5999, dtype=np.int32).reshape(2, 1000, 3), "faces"),
        ],
    )
    opsets = [onnx.helper.make_opsetid("", 18)]
    content = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    smaller = packing.packed(content)
    assert len(smaller) < 0.6 * len(content)  # the weights plus 1 are no int8
    whole = onnx.load_from_string(smaller).graph
    names = [name for n in whole.node for name in [n.name, *n.output] if name not in ("result",)]
    assert [t.name for t in whole.input] == ["images", "flag", "number"]
    assert all(name in ("", "chosen") or name[1:].isdigit() for name in names)
    images = np.random.default_rng(2).random((2, 64), np.float32)
    for flag in True, False:
        feed = {"images": images, "flag": np.array(flag), "number": np.array(1)}
        one, other = (
            ort.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, feed)
            for file in (content, smaller)
        )
        for before, after in zip(one, other, strict=True):
            np.testing.assert_array_equal(before, after)
    again = packing.packed(smaller)
    assert len(again) == len(smaller)
