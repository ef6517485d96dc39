"""Files for light runtimes are refused before a runtime reads them."""

import json
import shutil

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.bundle import guard
from dentalzoo.bundle.guard.onnx_files import COMPUTING, SIZES, check_file
from dentalzoo.bundle.guard.refusal import Unsafe
from dentalzoo.bundle.integrity import sums
from dentalzoo.bundle.metadata import read_metadata
from tests.zoo_case import RELEASED

pytest.importorskip("onnx")

BUNDLE = RELEASED / "tooth_vae.drawn_teeth_v2"


@pytest.mark.parametrize("path", sorted(RELEASED.iterdir()), ids=lambda path: path.name)
def test_released_bundles_pass(path):
    guard.refuse_unsafe_files(path, "onnx", read_metadata(path))


def test_the_list_has_operations_of_onnx_alone():
    import onnx

    known = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
    assert known >= COMPUTING >= SIZES.keys()
    assert not COMPUTING & {"Loop", "Scan", "SequenceMap", "RandomNormal", "ImageDecoder"}


# ---- ONNX files ----------------------------------------------------------------------------------


@pytest.fixture
def foreign(tmp_path):
    """Change encode.onnx of a bundle that has ONNX files alone; return its folder, signed anew."""
    import onnx

    def make(change=lambda model, folder: None):
        path = shutil.copytree(BUNDLE, tmp_path / "foreign")
        shutil.rmtree(path / "saved_model")
        metadata = json.loads((path / "metadata.json").read_text())
        (path / "metadata.json").write_text(json.dumps(metadata | {"tag": "other_v1"}))
        file = path / "onnx" / "encode.onnx"
        model = onnx.load(str(file))
        content = change(model, path / "onnx")
        file.write_bytes(model.SerializeToString() if content is None else content)
        (path / "SHA256SUMS").write_text(sums(path))
        return path

    return make


def refused(path, what):
    """`dz.load` refuses in one line, which names the file."""
    with pytest.raises(dz.DentalzooError, match=what) as caught:
        dz.load(path, "onnxruntime")
    line = str(caught.value)
    assert line.isprintable() and len(line) < 500 and str(path / "onnx") in line


def _constant(graph):
    return next(one for one in graph.initializer if one.data_type == 1 and len(one.dims) > 1)


def _add(graph, *nodes, **constants):
    """Add nodes whose last output is added to the first output of the graph."""
    import onnx

    for name, value in constants.items():
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), name))
    result = graph.output[0].name
    for node in graph.node:
        node.output[:] = ["before" if name == result else name for name in node.output]
        node.input[:] = ["before" if name == result else name for name in node.input]
    graph.node.extend(nodes)
    last = nodes[-1].output[0]
    graph.node.append(onnx.helper.make_node("Add", ["before", last], [result]))


def _node(op, inputs, outputs, **more):
    import onnx

    return onnx.helper.make_node(op, inputs, outputs, **more)


def _value(name, kind, shape=()):
    import onnx

    return onnx.helper.make_tensor_value_info(name, getattr(onnx.TensorProto, kind), shape)


def _outside(location, offset=0, length=None):
    def change(model, folder):
        (folder / "weights.bin").write_bytes(bytes(64))
        tensor = _constant(model.graph)
        size = len(tensor.raw_data) if length is None else length
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        for key, value in {"location": location, "offset": offset, "length": size}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)

    return change


def _of_dims(*dims):
    def change(model, folder):
        tensor = _constant(model.graph)
        tensor.ClearField("raw_data")
        tensor.dims[:] = dims

    return change


def _filled(model, folder):
    fill = _node("ConstantOfShape", ["size"], ["large"])
    greatest = _node("ReduceMax", ["large"], ["greatest"], keepdims=0)
    _add(model.graph, fill, greatest, size=[10**5, 10**5])


def _endless(model, folder):
    import onnx

    body = onnx.helper.make_graph(
        [_node("Identity", ["go"], ["on"]), _node("Identity", ["x"], ["y"])],
        "body",
        [_value("i", "INT64"), _value("go", "BOOL"), _value("x", "FLOAT")],
        [_value("on", "BOOL"), _value("y", "FLOAT")],
    )
    loop = _node("Loop", ["", "true", "zero"], ["r"], body=body)
    _add(model.graph, loop, true=True, zero=np.float32(0))


def _scan(model, folder):
    import onnx

    body = onnx.helper.make_graph(
        [_node("Add", ["s", "x"], ["t"])],
        "body",
        [_value("s", "FLOAT"), _value("x", "FLOAT")],
        [_value("t", "FLOAT")],
    )
    scan = _node("Scan", ["zero", "many"], ["r"], body=body, num_scan_inputs=1)
    _add(model.graph, scan, zero=np.float32(0), many=np.zeros(3, np.float32))


def _branches(count):
    def change(model, folder):
        import onnx

        inner = [_node("Identity", ["zero"], ["b"])]
        for number in range(count):
            graph = onnx.helper.make_graph(inner, "g", [], [_value(inner[-1].output[0], "FLOAT")])
            inner = [_node("If", ["true"], [f"b{number}"], then_branch=graph, else_branch=graph)]
        _add(model.graph, *inner, true=True, zero=np.float32(0))

    return change


def _within_a_branch(model, folder):
    import onnx

    regex = _node("RegexFullMatch", ["text"], ["b"], pattern="(((a+)+)+)$")
    graph = onnx.helper.make_graph([regex], "g", [], [_value("b", "BOOL")])
    branch = _node("If", ["true"], ["r"], then_branch=graph, else_branch=graph)
    _add(model.graph, branch, true=True)


def _sparse(model, folder):
    import onnx

    sparse = model.graph.sparse_initializer.add(dims=[2**30, 2**10])
    sparse.values.CopyFrom(onnx.numpy_helper.from_array(np.ones(1, np.float32), "sparse"))
    sparse.indices.CopyFrom(onnx.numpy_helper.from_array(np.array([2**40])))


def _recursive(model, folder):
    import onnx

    domains = [onnx.helper.make_opsetid("own", 1)]
    call = _node("Call", ["x"], ["y"], domain="own")
    model.functions.append(onnx.helper.make_function("own", "Call", ["x"], ["y"], [call], domains))


def _named(name, domain=""):
    def change(model, folder):
        model.graph.node[3].op_type, model.graph.node[3].domain = name, domain

    return change


def _text(model, folder):
    _add(model.graph, _node("Identity", ["text"], ["r"]), text=np.array(["x"], object))


ATTACKS = {
    "constants in /etc/passwd": _outside("/etc/passwd"),
    r"constants in \.\./\.\./weights.bin": _outside("../../weights.bin"),
    r"constants in \.\.\\weights.bin": _outside("..\\weights.bin"),
    r"constants in \*/_ORT_MEM_ADDR_/\*": _outside("*/_ORT_MEM_ADDR_/*"),
    "constants in metadata.json": _outside("metadata.json"),
    "constants in absent.bin": _outside("absent.bin"),
    "constants outside of weights.bin": _outside("weights.bin"),
    "constants outside of weights.bin (before)": _outside("weights.bin", -64),
    "constants outside of weights.bin (short)": _outside("weights.bin", 0, 64),
    "a constant of 4398046511104 values": _of_dims(2**40, 4),
    "a constant of 73786976294838206464 values": _of_dims(2**33, 2**33),
    r"a constant of dtype 1 and shape \[-1, -4\]": _of_dims(-1, -4),
    "ConstantOfShape of 100000 x 100000": _filled,
    r"\(Loop\)": _endless,
    r"\(Scan\)": _scan,
    "branches in branches": _branches(12),
    r"\(RegexFullMatch\)": _within_a_branch,
    "a sparse constant": _sparse,
    "functions or a training": _recursive,
    "evil.domain:Relu": _named("Relu", "evil.domain"),
    "com.microsoft:Tokenizer": _named("Tokenizer", "com.microsoft"),
    r"\(Evil\\n\\x1b\[31mdentalzoo: ok\)": _named("Evil\n\x1b[31mdentalzoo: ok"),
    "a constant of dtype 8": _text,
}


@pytest.mark.parametrize("what", ATTACKS)
def test_an_onnx_file_that_does_more_than_compute(foreign, what):
    path = foreign(ATTACKS[what])
    refused(path, rf"unsafe operation .*{what.partition(' (')[0]}.*; refusing to load")


@pytest.mark.parametrize("content", [b"", b"\xff" * 1000, b"\x00", b"\x08\x08"])
def test_what_is_no_onnx_file(foreign, content):
    refused(foreign(lambda model, folder: content), "is corrupt or incomplete")


def test_constants_in_files_beside_it_pass(foreign):
    """The exporters' own is there already; the results are the same with another one."""

    def change(model, folder):
        content = bytearray()
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) < 1000:
                continue
            places = {"location": "more.bin", "offset": len(content)}
            for key, value in {**places, "length": len(tensor.raw_data)}.items():
                entry = tensor.external_data.add()
                entry.key, entry.value = key, str(value)
            content += tensor.raw_data
            tensor.ClearField("raw_data")
            tensor.data_location = 1
        assert content
        (folder / "more.bin").write_bytes(content)

    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 1), np.uint8)
    expected = dz.load(BUNDLE, "onnxruntime").encode(image)
    received = dz.load(foreign(change), "onnxruntime").encode(image)
    assert all(np.array_equal(received[key], expected[key]) for key in expected)


def test_flipped_bits_of_an_onnx_file_end_in_one_line_or_compute(tmp_path):
    """Whoever makes the sums anew passes them; no byte may end the check in a traceback."""
    shutil.copy(BUNDLE / "onnx" / "weights.bin", tmp_path)
    content = (BUNDLE / "onnx" / "encode.onnx").read_bytes()
    random, file = np.random.default_rng(0), tmp_path / "encode.onnx"
    outcomes = {"passed": 0, "refused": 0}
    for _ in range(500):
        damaged = bytearray(content)
        # Weights are most of the file: half of the flips are in the nodes before them.
        place = random.integers(len(content) if random.random() < 0.5 else 10_000)
        damaged[place] ^= 1 << random.integers(8)
        file.write_bytes(damaged)
        try:
            check_file(file)
            outcomes["passed"] += 1
        except (Unsafe, ValueError):
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20, outcomes


# ---- interface.json ------------------------------------------------------------------------------


def _encode(**entries):
    return lambda content: content["signatures"]["encode"].update(entries)


INTERFACES = {
    "must have 'signatures'": lambda content: content.pop("signatures"),
    "signatures.encode.file must be a file name": _encode(file="../../../x.onnx"),
    "signatures.encode.outputs must be image, z_log_var, z_mean": _encode(outputs=["z_mean"]),
    r"signatures.encode.outputs\[0\] must be": _encode(outputs=[1, 2, 3]),
    "signatures.encode.inputs must be images": _encode(inputs=["other"]),
    "signatures.encode.inputs must be noise": _encode(noise=4),
    "a key of signatures must be": lambda content: content["signatures"].update({"../x": {}}),
    "signatures.generate.noise must be an integer from 1": lambda content: content["signatures"][
        "generate"
    ].update(noise=10**12),
}


@pytest.mark.parametrize("what", INTERFACES)
def test_an_interface_that_is_not_of_the_bundle(foreign, what):
    path = foreign()
    file = path / "onnx" / "interface.json"
    content = json.loads(file.read_text())
    INTERFACES[what](content)
    file.write_text(json.dumps(content))
    (path / "SHA256SUMS").write_text(sums(path))
    refused(path, what)


@pytest.mark.parametrize("text", ["[" * 9**6, "[]", "\0", '{"signatures": {}, "signatures": {}}'])
def test_what_is_no_interface(foreign, text):
    path = foreign()
    (path / "onnx" / "interface.json").write_text(text)
    (path / "SHA256SUMS").write_text(sums(path))
    refused(path, "it does not describe functions of the bundle")
