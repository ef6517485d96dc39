"""Each part of a SavedModel that the guard checks: a released bundle with one change is refused."""

import os
import random
from pathlib import Path

import pytest

import dentalzoo as dz
from dentalzoo.bundle import guard
from dentalzoo.bundle.guard.refusal import Unsafe, shown
from dentalzoo.bundle.guard.saved_model import check

RELEASED = Path(__file__).resolve().parents[3] / "pretrained" / "tooth_vae.drawn_teeth_v2"


def _parse(content):
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel.FromString(content)


@pytest.fixture(scope="module")
def released():
    return (RELEASED / "saved_model" / "saved_model.pb").read_bytes()


def _functions(graph):
    return graph.graph_def.library.function


def _serving(graph):
    return next(f for f in _functions(graph) if "_generate_" in f.signature.name)


def _saver(graph, name):
    return next(f for f in _functions(graph) if name in f.signature.name)


def _node(function, op):
    return next(node for node in function.node_def if node.op == op)


def _call(graph):
    return _node(_serving(graph), "StatefulPartitionedCall")


def _constant(function, **fields):
    from tensorflow.core.framework import tensor_pb2

    node = function.node_def.add(name="hostile", op="Const")
    node.attr["value"].tensor.CopyFrom(tensor_pb2.TensorProto(**fields))
    return node


def _settings(graph, **fields):
    from tensorflow.core.protobuf import config_pb2

    _call(graph).attr["config_proto"].s = config_pb2.ConfigProto(**fields).SerializeToString()


def _optimizer(graph):
    from tensorflow.core.protobuf import config_pb2

    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.custom_optimizers.add(name="x")
    _call(graph).attr["config_proto"].s = config.SerializeToString()


def _many_strings(graph):
    _constant(_serving(graph), dtype=7, string_val=[b"x" * 1000]).attr[
        "value"
    ].tensor.tensor_shape.dim.add(size=10**6)


def _repeated(graph):
    _constant(_serving(graph), dtype=1, float_val=[1.0]).attr["value"].tensor.tensor_shape.dim.add(
        size=10**10
    )


def _many_constants(graph):
    for number in range(5):
        node = _constant(_serving(graph), dtype=1, float_val=[1.0])
        node.name = f"hostile_{number}"
        node.attr["value"].tensor.tensor_shape.dim.add(size=2**24)


def _itself(graph):
    _call(graph).attr["f"].func.name = _serving(graph).signature.name


def _doubling(graph):
    """30 functions that each call the next one twice."""
    for number in range(30):
        function = _functions(graph).add()
        function.signature.name = f"double_{number}"
        for name in ("a", "b") if number < 29 else ():
            node = function.node_def.add(name=name, op="PartitionedCall")
            node.attr["f"].func.name = f"double_{number + 1}"


def _path(name, op, place):
    """A save or restore function that goes to another path than the one given to it."""

    def change(graph):
        function = _saver(graph, name)
        _constant(function, dtype=7, string_val=[b"/home/x"])
        _node(function, op).input[place] = "hostile:output:0"

    return change


def _main_path(graph):
    node = next(
        n
        for n in graph.graph_def.node
        if n.op == "StatefulPartitionedCall" and "_restore_" in n.attr["f"].func.name
    )
    constant = graph.graph_def.node.add(name="hostile", op="Const")
    constant.attr["value"].tensor.dtype = 7
    constant.attr["value"].tensor.string_val.append(b"/home/x")
    node.input[0] = graph.saver_def.filename_tensor_name = "hostile:0"


def _object(**fields):
    def change(graph):
        graph.object_graph_def.nodes.add(**fields)

    return change


def _saves_itself(graph):
    graph.object_graph_def.nodes[0].saveable_objects["x"].save_function = 3


def _child(name, place):
    def change(graph):
        graph.object_graph_def.nodes[0].children.add(local_name=name, node_id=place)

    return change


def _variable(graph):
    return next(n for n in graph.object_graph_def.nodes if n.HasField("variable")).variable


def _argument_of_a_class(graph):
    function = next(iter(graph.object_graph_def.concrete_functions.values()))
    function.output_signature.type_spec_value.type_spec_class_name = "Hostile"


def _set(node, key, kind, value):
    setattr(node.attr[key], kind, value)


CHANGES = {
    "ReadVariableOp on the device /job:worker": lambda g: (
        setattr(_node(_serving(g), "ReadVariableOp"), "device", "/job:worker/task:1/device:CPU:0")
        if any(n.op == "ReadVariableOp" for n in _serving(g).node_def)
        else setattr(_serving(g).node_def[0], "device", "/job:worker/task:1/device:CPU:0")
    ),
    "with _XlaMustCompile": lambda g: _set(_call(g), "_XlaMustCompile", "b", True),
    "with the gradient of": lambda g: _set(
        _serving(g).node_def[0], "_gradient_op_type", "s", b"Conv2D"
    ),
    "settings for optimizers": _optimizer,
    "settings for session_inter_op": lambda g: _settings(
        g, session_inter_op_thread_pool=[{"num_threads": 9}]
    ),
    "damaged settings": lambda g: _set(_call(g), "config_proto", "s", b"\xff"),
    "with executor_type": lambda g: _set(_call(g), "executor_type", "s", b"x"),
    "with container": lambda g: _set(
        next(n for n in g.graph_def.node if n.op == "VarHandleOp"), "container", "s", b"x"
    ),
    "a constant of 10000000000 values": _repeated,
    "a constant of 1000000 strings that holds 1": _many_strings,
    "constants of 33": _many_constants,
    "a constant of dtype 20": lambda g: _constant(_serving(g), dtype=20),
    "Const without a value": lambda g: _serving(g).node_def.add(name="hostile", op="Const"),
    "a function that calls itself": _itself,
    "calls of more than 2000000 operations": _doubling,
    "a function of the name Relu": lambda g: setattr(_functions(g).add().signature, "name", "Relu"),
    "a function of the name __inf": lambda g: _functions(g).add().CopyFrom(_serving(g)),
    "two nodes of the name": lambda g: _serving(g).node_def.add().CopyFrom(_serving(g).node_def[0]),
    "with a function as x": lambda g: setattr(
        _serving(g).node_def[0].attr["x"].func, "name", _serving(g).signature.name
    ),
    "of nothing, which is not there": lambda g: setattr(_call(g).attr["f"].func, "name", "nothing"),
    "without a function": lambda g: _call(g).attr.pop("f"),
    "a gradient of hostile": lambda g: g.graph_def.library.gradient.add(function_name="hostile"),
    "a gradient of Conv2D": lambda g: g.graph_def.library.registered_gradients.add(
        gradient_func=_serving(g).signature.name, registered_op_type="Conv2D"
    ),
    "the attribute _hostile": lambda g: _set(_serving(g), "_hostile", "b", True),
    "a function of any type": lambda g: _serving(g).signature.attr.add(name="T"),
    "RestoreV2 that is not": _path("_restore_", "RestoreV2", 0),
    "SaveV2 that is not": _path("_save_", "SaveV2", 0),
    "MergeV2Checkpoints that is not": _path("_save_", "MergeV2Checkpoints", 1),
    "ShardedFilename that is not": lambda g: setattr(
        _node(_serving(g), "Identity"), "op", "ShardedFilename"
    ),
    "AssignVariableOp that is not": lambda g: setattr(
        _node(_serving(g), "Identity"), "op", "AssignVariableOp"
    ),
    "without the path given to it": _main_path,
    "a collection hostile": lambda g: g.collection_def["hostile"].node_list.value.append("x"),
    "asset ../x": lambda g: g.asset_file_def.add(filename="../x"),
    "information of another program": lambda g: g.meta_info_def.function_aliases.update(a="b"),
    "an object of the kind asset": _object(asset={}),
    "an object of the kind resource": _object(resource={}),
    "an object of the class optimizer": _object(user_object={"identifier": "optimizer"}),
    "an object of the class Custom>X": _object(
        user_object={"identifier": "_generic_user_object"}, registered_name="Custom>X"
    ),
    "an object that saves or restores itself": _saves_itself,
    "an attribute of the name _restore": _child("_restore_from_tensors", 1),
    "an attribute x, which": _child("x", 10**6),
    "an object for the function": _object(function={"concrete_functions": ["hostile"]}),
    "for x, which is no constant": _object(constant={"operation": "x"}),
    "a variable on the device": lambda g: setattr(_variable(g), "device", "/job:x"),
    "an argument of the class Hostile": _argument_of_a_class,
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_any_part_is_refused(released, what):
    content = _parse(released)
    CHANGES[what](content.meta_graphs[0])
    with pytest.raises(Unsafe) as caught:
        check(content)
    assert what.split("on the device /job")[-1] in str(caught.value)


def test_the_settings_of_several_processes_and_of_a_gpu_pass(released):
    from tensorflow.core.protobuf import config_pb2

    content = _parse(released)
    config = config_pb2.ConfigProto(
        device_count={"CPU": 1, "GPU": 2},
        device_filters=["/job:worker/task:0"],
        gpu_options={"allow_growth": True, "visible_device_list": "0"},
        intra_op_parallelism_threads=1,
        inter_op_parallelism_threads=1,
    )
    config.experimental.collective_group_leader = "/job:worker/replica:0/task:0"
    config.experimental.coordination_config.service_type = "standalone"
    config.graph_options.optimizer_options.global_jit_level = 1
    _call(content.meta_graphs[0]).attr["config_proto"].s = config.SerializeToString()
    check(content)


def test_names_of_a_foreign_file_are_shown_in_one_short_line():
    assert shown("a\nb") == "a\\nb" and len(shown("x" * 9999)) == 120
    assert str(Unsafe("Relu", "f\x1b[31m")) == "Relu in f\\x1b[31m"


# ---- files ---------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, released):
    """A bundle with the SavedModel alone, to be changed."""
    for file in (RELEASED / "saved_model").rglob("*"):
        target = tmp_path / "saved_model" / file.relative_to(RELEASED / "saved_model")
        if file.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return tmp_path


def refused(path, what):
    with pytest.raises(dz.DentalzooError, match=what) as caught:
        guard.refuse_unsafe_graph(path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "name",
    ["saved_model.pbtxt", "saved_model.cpb", "assets/x", "debug/saved_model_debug_info.pb"],
)
def test_another_file_beside_the_graph_is_refused(folder, name):
    (folder / "saved_model" / name).parent.mkdir(exist_ok=True)
    (folder / "saved_model" / name).write_bytes(b"x")
    refused(folder, f"the file {name}")


def test_a_fingerprint_and_empty_assets_pass_and_a_damaged_fingerprint_does_not(folder):
    from tensorflow.core.protobuf import fingerprint_pb2

    (folder / "saved_model" / "assets").mkdir()
    fingerprint = fingerprint_pb2.FingerprintDef(
        saved_model_checksum=2**63, graph_def_program_hash=1
    )
    file = folder / "saved_model" / "fingerprint.pb"
    file.write_bytes(fingerprint.SerializeToString())
    guard.refuse_unsafe_graph(folder)
    file.write_bytes(b"no")
    refused(folder, "corrupt or incomplete. Received: fingerprint.pb: ")
    file.write_bytes(bytes(1025))
    refused(folder, "fingerprint.pb of 1025 bytes")


def _nested(depth):
    """A SavedModel with a function attribute within a function attribute and so on."""

    def length(number):
        head = b""
        while number > 127:
            head += bytes([number & 127 | 128])
            number >>= 7
        return head + bytes([number])

    content = b""
    for _ in range(depth):
        content = b"\x0a" + length(len(content)) + content
    return content


def test_a_graph_that_is_cut_nested_or_huge_is_refused_in_one_line(folder, released):
    file = folder / "saved_model" / "saved_model.pb"
    file.write_bytes(released[: len(released) // 2])
    refused(folder, "corrupt or incomplete")
    file.write_bytes(b"\x12" + _nested(5000)[1:])
    refused(folder, "corrupt or incomplete|unsafe operation")
    file.write_bytes(released + b"\xba\x3e\x01x")
    refused(folder, "4 bytes of saved_model.pb that this TensorFlow does not know")
    os.truncate(file, 2**28 + 1)  # a hole: no disk is taken, and nothing is read
    refused(folder, "saved_model.pb of 268435457 bytes")
    file.unlink()
    refused(folder, "corrupt or incomplete")


def test_a_variable_larger_than_its_values_is_refused(folder, released):
    content = _parse(released)
    _variable(content.meta_graphs[0]).shape.dim.add(size=10**15)
    (folder / "saved_model" / "saved_model.pb").write_bytes(content.SerializeToString())
    refused(folder, r"unsafe operation \(variables of \d{15,} bytes, whose values have")


@pytest.mark.slow
def test_flipped_bits_of_a_graph_end_in_one_line_or_change_nothing_unsafe(folder, released):
    """Flip 100 bits, one at a time, whose sums nobody would find."""
    stream, refusals = random.Random(0), 0
    file = folder / "saved_model" / "saved_model.pb"
    for _ in range(100):
        content = bytearray(released)
        content[stream.randrange(len(content))] ^= 1 << stream.randrange(8)
        file.write_bytes(content)
        try:
            guard.refuse_unsafe_graph(folder)
        except dz.DentalzooError as error:
            assert "\n" not in str(error)
            refusals += 1
    assert 5 < refusals < 100  # names and shapes of no consequence may change
