"""The object graph of a SavedModel: what TensorFlow's loader would make, and call, in Python."""

import re
from collections.abc import Iterator
from typing import Any

from dentalzoo.bundle.guard.body import Bodies
from dentalzoo.bundle.guard.refusal import Unsafe
from dentalzoo.bundle.guard.tensors import BYTES, STRING, elements

# Objects with attributes, lists of them, and the signatures: nothing with a class of its own.
_CLASSES = frozenset(("_generic_user_object", "signature_map", "trackable_list_wrapper"))
_REGISTERED = frozenset(("", "tf.TrackableConstant"))
_KINDS = frozenset(
    ("bare_concrete_function", "captured_tensor", "constant", "function", "user_object", "variable")
)
_ATTRIBUTE = re.compile(r"[A-Za-z0-9][^\0]*")  # the loader itself uses those that begin with _


def check_objects(graph: Any, bodies: Bodies, savers: frozenset[str], constants: set[str]) -> int:
    """Check a SavedObjectGraph.

    Args:
        graph: the SavedObjectGraph.
        bodies: the functions that are there.
        savers: those that nothing may call.
        constants: the names of the constants of the main graph.

    Returns:
        The bytes that its variables take.

    Raises:
        Unsafe: an object that is not a plain one, a function that is not there.
    """
    size = 0
    for node in graph.nodes:
        kind = node.WhichOneof("kind") or "nothing"
        if kind not in _KINDS:
            raise Unsafe(f"an object of the kind {kind}")
        if kind == "user_object" and node.user_object.identifier not in _CLASSES:
            raise Unsafe(f"an object of the class {node.user_object.identifier}")
        if node.registered_name not in _REGISTERED or node.HasField("serialized_user_proto"):
            raise Unsafe(f"an object of the class {node.registered_name}")
        if node.saveable_objects or node.registered_saver or node.slot_variables:
            raise Unsafe("an object that saves or restores itself")
        if kind == "variable":
            size += _variable(node.variable)
        if kind == "constant" and node.constant.operation not in constants:
            raise Unsafe(f"an object for {node.constant.operation}, which is no constant")
        for child in (*node.children, *node.dependencies):
            if not 0 <= child.node_id < len(graph.nodes):
                raise Unsafe(f"an attribute {child.local_name}, which is not there")
            if not _ATTRIBUTE.fullmatch(child.local_name):
                raise Unsafe(f"an attribute of the name {child.local_name}")
        for name in _named(node):
            if name not in bodies or name in savers:
                raise Unsafe(f"an object for the function {name}")
    for name, function in graph.concrete_functions.items():
        if name not in bodies or name in savers:
            raise Unsafe(f"an object for the function {name}")
        if not all(0 <= place < len(graph.nodes) for place in function.bound_inputs):
            raise Unsafe("an input that is not there", name)
        for value in (function.canonicalized_input_signature, function.output_signature):
            _check_structure(value, name)
    return size


def _variable(variable: Any) -> int:
    """Return the bytes of a SavedVariable."""
    if variable.dtype not in BYTES or variable.dtype == STRING:
        raise Unsafe(f"a variable of dtype {variable.dtype}")
    if variable.device or variable.experimental_distributed_variable_components:
        raise Unsafe(f"a variable on the device {variable.device}")
    return BYTES[variable.dtype] * elements(variable.shape)


def _named(node: Any) -> Iterator[str]:
    """Yield the names of the functions that an object refers to."""
    yield from node.function.concrete_functions
    if node.WhichOneof("kind") == "bare_concrete_function":
        yield node.bare_concrete_function.concrete_function_name
    if node.WhichOneof("kind") == "captured_tensor":
        yield node.captured_tensor.concrete_function


def _check_structure(value: Any, where: str) -> None:
    """Refuse an argument that is of a class; plain containers of tensors are taken."""
    kind = value.WhichOneof("kind")
    if kind == "type_spec_value":
        raise Unsafe(
            f"an argument of the class {value.type_spec_value.type_spec_class_name}", where
        )
    if kind == "list_value":
        parts = list(value.list_value.values)
    elif kind == "tuple_value":
        parts = list(value.tuple_value.values)
    elif kind == "dict_value":
        parts = list(value.dict_value.fields.values())
    elif kind == "named_tuple_value":
        parts = [pair.value for pair in value.named_tuple_value.values]
    else:
        parts = []
    for part in parts:
        _check_structure(part, where)
