"""Convolutions in int8 whose weights several of them read, as those of the heads of a pyramid."""

import numpy as np
import pytest

from dentalzoo.exporters import onnx, onnx_int8

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def file(weights):
    """An ONNX file: two sizes of an image, a convolution of the same weights on each."""
    import onnx

    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["large"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["large"], ["half"], "half", **pool),
        helper.make_node("Conv", ["half", "w"], ["small"], "second", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["small", "w"], ["y"], "third", pads=[1, 1, 1, 1]),
    ]
    ends = [helper.make_tensor_value_info(name, floats, (1, 4, n, n)) for name, n in
            (("x", 16), ("y", 8))]  # fmt: skip
    graph = helper.make_graph(
        nodes, "heads", ends[:1], ends[1:], [onnx.numpy_helper.from_array(weights, "w")]
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def test_shared_weights_can_be_loaded_and_give_the_same(tmp_path):
    """Where a processor has no VNNI ONNX Runtime refused them."""
    random = np.random.default_rng(0)
    weights = random.normal(0, 0.3, (4, 4, 3, 3)).astype(np.float32)
    images = random.uniform(0, 1, (6, 1, 4, 16, 16)).astype(np.float32)
    content = file(weights)
    results = []
    for name, made in (
        ("plain", content),
        ("int8", onnx_int8._quantized(content, [{"x": image} for image in images])),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "heads.onnx").write_bytes(made)
        entry = '{"signatures": {"heads": {"file": "heads.onnx", "outputs": ["y"]}}}'
        (tmp_path / name / "interface.json").write_text(entry)
        heads = onnx.load(tmp_path / name)["heads"]
        results.append(np.stack([heads(x=image)["y"] for image in images]))
    plain, int8 = results
    assert 0 < np.abs(plain - int8).max() < 0.05 * np.abs(plain).max()
