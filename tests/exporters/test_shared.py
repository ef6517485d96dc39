"""Weights that several ONNX files have lie beside them once, and are read from nowhere else."""

import numpy as np
import pytest

from dentalzoo.errors import DentalzooError
from dentalzoo.exporters import _shared, onnx
from dentalzoo.exporters._packed import MIN_BYTES

pytest.importorskip("onnx")
WEIGHTS = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
OWN = np.random.default_rng(1).standard_normal((64, 32)).astype(np.float32)


def write(folder, name, *weights):
    """Write a file that multiplies x (1, 64) by each of the weights in turn."""
    import onnx

    helper, count = onnx.helper, len(weights)
    nodes = [
        helper.make_node("MatMul", [f"h{n}" if n else "x", f"w{n}"], [f"h{n + 1}"])
        for n in range(count)
    ]
    graph = helper.make_graph(
        [*nodes, helper.make_node("Identity", [f"h{count}"], ["y"])],
        name,
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 64))],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1, weights[-1].shape[1]))],
        [onnx.numpy_helper.from_array(value, f"w{n}") for n, value in enumerate(weights)],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / f"{name}.onnx")


def interface(folder, *names):
    entries = (f'"{name}": {{"file": "{name}.onnx", "outputs": ["y"]}}' for name in names)
    (folder / "interface.json").write_text(f'{{"signatures": {{{", ".join(entries)}}}}}')


def test_equal_weights_lie_beside_the_files_once(tmp_path):
    write(tmp_path, "one", WEIGHTS, OWN)
    write(tmp_path, "two", WEIGHTS)
    write(tmp_path, "three", WEIGHTS, WEIGHTS[::-1].copy())
    interface(tmp_path, "one", "two", "three")
    x = np.random.default_rng(2).standard_normal((1, 64)).astype(np.float32)
    before = {name: function(x=x)["y"] for name, function in onnx.load(tmp_path).items()}
    _shared.share(tmp_path)
    assert (tmp_path / "weights.bin").read_bytes() == WEIGHTS.tobytes()
    sizes = {name: (tmp_path / f"{name}.onnx").stat().st_size for name in before}
    assert sizes["two"] < 1000 < OWN.nbytes < sizes["one"] < OWN.nbytes + 1000
    for name, function in onnx.load(tmp_path).items():
        np.testing.assert_array_equal(function(x=x)["y"], before[name], name)


def test_weights_begin_where_a_runtime_can_map_them(tmp_path):
    import onnx

    odd = np.ones(MIN_BYTES + 5, np.int8)
    for name in ("one", "two"):
        write(tmp_path, name, WEIGHTS)
        model = onnx.load(tmp_path / f"{name}.onnx")
        model.graph.initializer.insert(0, onnx.numpy_helper.from_array(odd, "odd"))
        onnx.save(model, tmp_path / f"{name}.onnx")
    _shared.share(tmp_path)
    model = onnx.load(tmp_path / "two.onnx", load_external_data=False)
    starts = [
        int(entry.value)
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "offset"
    ]
    assert starts == [0, MIN_BYTES + 64]


def test_files_that_share_nothing_stay(tmp_path):
    write(tmp_path, "one", WEIGHTS)
    write(tmp_path, "two", OWN)
    before = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    _shared.share(tmp_path)
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before


@pytest.mark.parametrize("place", ["../secret.bin", "absolute", "link.bin", "missing.bin"])
def test_weights_are_read_from_no_other_folder(tmp_path, place):
    import onnx as format

    folder = tmp_path / "onnx"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(WEIGHTS.tobytes())
    (folder / "link.bin").symlink_to("../secret.bin")
    if place == "absolute":
        place = str(tmp_path / "secret.bin")
    write(folder, "serve", WEIGHTS)
    model = format.load(folder / "serve.onnx")
    [tensor] = model.graph.initializer
    format.external_data_helper.set_external_data(tensor, place, 0, WEIGHTS.nbytes)
    tensor.ClearField("raw_data")
    (folder / "serve.onnx").write_bytes(model.SerializeToString())
    interface(folder, "serve")
    with pytest.raises(DentalzooError, match="serve failed") as caught:
        onnx.load(folder)["serve"](x=np.zeros((1, 64), np.float32))
    assert "\n" not in str(caught.value)
