"""Nothing of a foreign SavedModel runs unless all of it is on the list."""

import json
import shutil
from pathlib import Path

import pytest

import dentalzoo as dz
from dentalzoo.bundle import guard, writing
from dentalzoo.bundle.guard import functions
from dentalzoo.bundle.guard.operations import CALLING, COMPUTING, MAIN, SAVING
from dentalzoo.bundle.guard.refusal import Unsafe
from dentalzoo.bundle.guard.saved_model import check
from dentalzoo.bundle.weights import store
from dentalzoo.exporters import saved_model

PRETRAINED = Path(__file__).resolve().parents[3] / "pretrained"


def reason(content):
    """The operation and the function for which a SavedModel is refused; None where it is not."""
    try:
        check(content)
    except Unsafe as error:
        return str(error)
    return None


# ---- the list ------------------------------------------------------------------------------------


def _with_operation(op, outside=False):
    """A SavedModel of one operation, in a function or outside of functions."""
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel()
    graph = content.meta_graphs.add()
    graph.object_graph_def.nodes.add().user_object.identifier = "_generic_user_object"
    function = graph.graph_def.library.function.add()
    function.signature.name = "f"
    (graph.graph_def.node if outside else function.node_def).add(name="x", op=op)
    return content


def _registry():
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session

    operations = op_def_pb2.OpList.FromString(
        pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList())
    )
    return {operation.name: operation for operation in operations.op}


def test_every_other_operation_of_tensorflow_is_refused():
    registry = _registry()
    allowed = COMPUTING | CALLING.keys() | SAVING
    assert allowed <= registry.keys() and len(registry) - len(allowed) > 1700
    for op in registry.keys() - allowed:
        assert reason(_with_operation(op)) == f"{op} in f"
    for op in registry.keys() - MAIN:
        assert reason(_with_operation(op, outside=True)) == op


def test_operations_of_the_list_hold_no_state():
    registry = _registry()
    stateful = {name for name in COMPUTING if registry[name].is_stateful}
    # Two refuse an input, the third reads a variable.
    assert stateful == {"Assert", "CheckNumerics", "ReadVariableOp"}
    for name in COMPUTING:  # none names a file, a table, a container or a function
        attributes = {attribute.name: attribute.type for attribute in registry[name].attr}
        assert not {"container", "shared_name"} & attributes.keys()
        assert not {"func", "list(func)"} & set(attributes.values())


# ---- bundles of the zoo --------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(PRETRAINED.iterdir()), ids=lambda path: path.name)
def test_released_bundles_pass(path):
    guard.refuse_unsafe_graph(path)


VARIANTS = [
    (name, variant)
    for name in dz.list_models()
    for variant in dz.registry.module_of(name).VARIANTS
    if variant != "tiny"  # which other tests export, and exporting checks
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_every_variant_passes(tmp_path, name, variant):
    module, config = dz.registry.module_of(name), dz.configure(name, variant).without_init()
    model = store(module.build_model(config), "float32")
    path = tmp_path / "saved_model"
    saved_model.export(model, path, module.signatures(model, config), {})
    guard.refuse_unsafe_graph(tmp_path)


def test_an_export_with_another_operation_is_refused_and_the_older_bundle_kept(copy, monkeypatch):
    monkeypatch.setattr(functions, "_ALLOWED", functions._ALLOWED - {"Relu"})
    model = dz.build("defect_overlay_vae", "tiny")
    with pytest.raises(dz.DentalzooError, match=r"unsafe operation \(Relu in .*\)") as caught:
        dz.export(model, copy, "defect_overlay_vae")
    assert str(caught.value).startswith(f"{copy}: ")
    assert dz.verify(copy) and not list(copy.parent.glob(".*"))


# ---- attacks -------------------------------------------------------------------------------------


def _resign(path):
    metadata = json.loads((path / "metadata.json").read_text())
    writing._write_description(path, metadata)


@pytest.fixture
def hostile(copy):
    """Replace the SavedModel of a bundle by one with this function, and make its sums anew."""
    import tensorflow as tf

    def make(function, *inputs, **parts):
        model = tf.Module()
        for key, part in parts.items():
            setattr(model, key, part)
        model.serve = tf.function(
            function, input_signature=[tf.TensorSpec(shape, dtype) for shape, dtype in inputs]
        )
        shutil.rmtree(copy / "saved_model")
        tf.saved_model.save(model, str(copy / "saved_model"), signatures={"serve": model.serve})
        (copy / "saved_model" / "fingerprint.pb").unlink()
        (copy / "saved_model" / "assets").rmdir()
        _resign(copy)
        return copy

    return make


def _refused_at_load(path, what, folder):
    """`dz.load` refuses in one line, and no file was written in the folder."""
    with pytest.raises(dz.DentalzooError, match=f"unsafe operation .*{what}") as caught:
        dz.load(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert not list(folder.glob("written*"))


def test_a_restore_function_that_writes_a_file(hostile, tmp_path):
    """TensorFlow itself calls it while it loads."""
    import tensorflow as tf

    written = tmp_path / "written"

    class Restored(tf.Module):
        def _serialize_to_tensors(self):
            return {"a": tf.constant(1.0)}

        def _restore_from_tensors(self, restored):
            tf.io.write_file(str(written), "x")
            return restored["a"]

    path = hostile(lambda x: x + 1, ([], tf.float32), restored=Restored())
    written.unlink(missing_ok=True)
    _refused_at_load(path, "RestoreV2 that is not TensorFlow's own", tmp_path)
    tf.saved_model.load(str(path / "saved_model"))
    assert written.exists()  # so it was an attack


@pytest.mark.parametrize("name", ["_traced_save", "_traced_restore"])
def test_a_function_named_like_tensorflows_own_that_writes_a_file(hostile, tmp_path, name):
    import tensorflow as tf

    def function(x):
        tf.io.write_file(str(tmp_path / "written"), "x")
        return x + 1

    function.__name__ = name
    path = hostile(function, ([], tf.float32))
    _refused_at_load(path, "WriteFile", tmp_path)
    tf.saved_model.load(str(path / "saved_model")).signatures["serve"](tf.constant(1.0))
    assert (tmp_path / "written").exists()


def _record_input(raw, path):
    return raw.RecordInput(file_pattern=path)


def _load_and_remap_matrix(raw, path):
    return raw.LoadAndRemapMatrix(
        ckpt_path=path,
        old_tensor_name="a",
        row_remapping=[0],
        col_remapping=[0],
        initializing_values=[],
        num_rows=1,
        num_cols=1,
    )


def _generate_vocab_remapping(raw, path):
    return raw.GenerateVocabRemapping(
        new_vocab_file=path, old_vocab_file=path, new_vocab_offset=0, num_new_vocab=1
    )[1]


def _fixed_unigram_candidate_sampler(raw, path):
    return raw.FixedUnigramCandidateSampler(
        true_classes=[[0]],
        num_true=1,
        num_sampled=1,
        unique=True,
        range_max=1,
        vocab_file=path,
    )[0]


def _decode_proto(raw, path):
    return raw.DecodeProtoV2(
        bytes="", message_type="a", field_names=[], output_types=[], descriptor_source=path
    )[0]


def _queue_dequeue(raw, path):
    return raw.QueueDequeueV2(
        handle=raw.FIFOQueueV2(component_types=["float32"]), component_types=["float32"]
    )[0]


def _barrier_take_many(raw, path):
    return raw.BarrierTakeMany(
        handle=raw.Barrier(component_types=["float32"]),
        num_elements=1,
        component_types=["float32"],
    )[0]


FUNCTIONS = {
    "RecordInput": _record_input,
    "LoadAndRemapMatrix": _load_and_remap_matrix,
    "GenerateVocabRemapping": _generate_vocab_remapping,
    "FixedUnigramCandidateSampler": _fixed_unigram_candidate_sampler,
    "DecodeProtoV2": _decode_proto,
    "QueueDequeueV2|FIFOQueueV2": _queue_dequeue,
    "BarrierTakeMany|Barrier": _barrier_take_many,
    "WriteFile": lambda raw, path: raw.WriteFile(filename=path, contents="x") or raw.NoOp(),
    "ReadFile": lambda raw, path: raw.ReadFile(filename=path),
    "Fill of 10000000000": lambda raw, path: raw.Fill(dims=[10**10], value=1.0),
    "Fill of 100000 x 100000": lambda raw, path: raw.Fill(dims=[10**5] * 2, value=1.0),
    "Tile of": lambda raw, path: raw.Tile(input=[1.0], multiples=[10**10]),
    "Range of": lambda raw, path: raw.Range(start=0, limit=2 * 10**9, delta=1),
}


@pytest.mark.parametrize("what", FUNCTIONS)
def test_an_operation_that_reads_waits_or_takes_all_memory(hostile, tmp_path, what):
    import tensorflow as tf

    def function(x):
        result = FUNCTIONS[what](tf.raw_ops, str(tmp_path / "written"))
        return x + 1 if result is None or isinstance(result, tf.Operation) else {"r": result}

    _refused_at_load(hostile(function, ([], tf.float32)), what, tmp_path)


def _endless(tf, x):
    return tf.while_loop(lambda x: x > 0, lambda x: [x + 1], [x])[0]


def _endless_counter(tf, x):
    """The limit grows as the counter does."""
    return tf.while_loop(lambda i, n, x: i < n, lambda i, n, x: [i + 1, n + 1, x], [0, 1, x])[2]


def _standing_counter(tf, x):
    return tf.while_loop(lambda i, x: i < 5, lambda i, x: [i + 0, x], [0, x])[1]


def _long(tf, x):
    return tf.while_loop(lambda i, x: i < 10**9, lambda i, x: [i + 1, x], [0, x])[1]


def _either(tf, x):
    return tf.while_loop(lambda i, x: tf.logical_or(i < 5, x > 0), lambda i, x: [i + 1, x], [0, x])[
        1
    ]


def _size_of_a_result(tf, x):
    return tf.map_fn(lambda y: y + 1, tf.fill([tf.cast(x, tf.int32)], 1.0))


def _size_of_an_empty_tensor(tf, x):
    return tf.map_fn(lambda y: y + 1, tf.reshape(tf.zeros([0]), [tf.cast(x, tf.int32), 0]))


@pytest.mark.parametrize(
    "loop",
    [
        *(_endless, _endless_counter, _standing_counter, _long, _either, _size_of_a_result),
        _size_of_an_empty_tensor,
    ],
)
def test_a_loop_without_a_bound(hostile, tmp_path, loop):
    import tensorflow as tf

    path = hostile(lambda x: {"r": loop(tf, x)}, ([], tf.float32))
    _refused_at_load(path, "While without a bounded counter", tmp_path)


def test_loops_over_the_images_of_a_batch_and_of_few_turns_pass(hostile):
    import tensorflow as tf

    def function(x):
        few = tf.while_loop(lambda i, x: i < 5, lambda i, x: [i + 1, x], [0, x])[1]
        flat = tf.map_fn(lambda y: y * 2.0, tf.reshape(x, [-1]))
        return {"few": few, "batch": tf.map_fn(lambda y: y * 2.0, x), "flat": flat}

    guard.refuse_unsafe_graph(hostile(function, ([None], tf.float32)))


def test_a_graph_whose_parts_do_not_fit_together_ends_in_one_line(copy):
    from tensorflow.core.protobuf import saved_model_pb2

    file = copy / "saved_model" / "saved_model.pb"
    content = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    function = content.meta_graphs[0].graph_def.library.function[0]
    function.node_def[0].input.append("nothing:output:0")
    file.write_bytes(content.SerializeToString())
    _resign(copy)
    with pytest.raises(dz.DentalzooError, match="corrupt or incomplete. Received: ") as caught:
        dz.load(copy)
    assert "\n" not in str(caught.value)
