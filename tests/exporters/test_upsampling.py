"""Repeated rows and columns become one operation, with the same values."""

import numpy as np
import pytest

from dentalzoo.exporters._upsampling import joined

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

AXES, TIMES = [3], [1, 1, 1, 2, 1]


def repeats(axes=AXES, times=TIMES, permutation=(0, 2, 3, 4, 1)) -> bytes:
    """A file that repeats rows and columns of x (B, 3, 4, 5), as tf2onnx writes Keras' layer."""
    node = onnx.helper.make_node
    nodes = [
        node("Unsqueeze", ["x", "axes"], ["a"], "expand"),
        node("Tile", ["a", "times"], ["b"], "tile"),
        node("Transpose", ["b"], ["c"], "exchange", perm=permutation),
        node("Shape", ["x"], ["shape"], "shape"),
        node("Gather", ["shape", "zero"], ["batch"], "gather"),
        node("Concat", ["batch", "higher"], ["rows"], "rows", axis=0),
        node("Reshape", ["c", "rows"], ["d"], "reshape"),
        node("Unsqueeze", ["d", "axes"], ["e"], "expand_1"),
        node("Tile", ["e", "times"], ["f"], "tile_1"),
        node("Concat", ["batch", "larger"], ["columns"], "columns", axis=0),
        node("Reshape", ["f", "columns"], ["y"], "reshape_1"),
    ]
    numbers = {"axes": axes, "times": times, "zero": [0], "higher": [8, 5, 3], "larger": [8, 10, 3]}
    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (None, 3, 4, 5))],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.array(v, np.int64), k) for k, v in numbers.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 18)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def kinds(content: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(content).graph.node]


def test_repeats_of_rows_and_columns_are_joined():
    before = repeats()
    after = joined(before)
    assert kinds(after) == ["Resize", "Transpose"]
    assert len(onnx.load_from_string(after).graph.initializer) == 1
    images = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    results = [
        ort.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"x": images})[0]
        for file in (before, after)
    ]
    expected = images.transpose(0, 2, 3, 1).repeat(2, axis=1).repeat(2, axis=2)
    for result in results:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    "change", [{"axes": [2]}, {"times": [1, 1, 1, 2, 2]}, {"permutation": (0, 1, 2, 3, 4)}]
)
def test_other_chains_stay(change):
    before = repeats(**change)
    assert kinds(joined(before)) == kinds(before)
