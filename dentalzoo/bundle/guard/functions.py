"""The functions of a SavedModel: every node by name, attributes, calls and constant sizes."""

import math
import re
from collections.abc import Collection, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

from dentalzoo.bundle.guard.body import Bodies, Body, data_inputs
from dentalzoo.bundle.guard.loops import refuse_endless_loop
from dentalzoo.bundle.guard.operations import (
    CALLING,
    COMPUTING,
    DESCRIBING,
    LOOPING,
    SAVING,
    SIZES,
)
from dentalzoo.bundle.guard.refusal import Unsafe
from dentalzoo.bundle.guard.savers import is_saver
from dentalzoo.bundle.guard.tensors import ELEMENTS, bytes_of

NODES = 2_000_000  # of a function with all that it calls, each call counted

_ALLOWED = COMPUTING | CALLING.keys()
_DEVICE = re.compile(r"(/job:localhost/replica:0/task:0)?(/device:(CPU|GPU):(\d+|\*))?")
_GRADIENT = re.compile(rb"CustomGradient-\d+")
# The fields of a ConfigProto that describe the process which exported: its devices and threads.
_SETTINGS = frozenset(
    (
        *("allow_soft_placement", "device_count", "device_filters", "experimental", "gpu_options"),
        *("graph_options", "inter_op_parallelism_threads", "intra_op_parallelism_threads"),
        *("log_device_placement", "operation_timeout_in_ms", "pluggable_device_options"),
    )
)
_EXPERIMENTAL = frozenset(
    (
        *("collective_group_leader", "collective_nccl", "coordination_config"),
        *("enable_mlir_bridge", "enable_mlir_graph_optimization", "mlir_bridge_rollout"),
    )
)


def check_functions(library: Any) -> tuple[Bodies, frozenset[str]]:
    """Check all functions of a FunctionDefLibrary.

    Returns:
        The functions by name, and the names of those that save or restore the checkpoint.

    Raises:
        Unsafe: an operation is not on the list, or is used in a way that is not.
    """
    bodies: dict[str, Body] = {}
    for function in library.function:
        name = function.signature.name
        if name in bodies or name in _ALLOWED | SAVING:
            raise Unsafe(f"a function of the name {name}")
        if function.signature.attr:
            raise Unsafe("a function of any type", name)
        _check_attribute_names(function.attr, name)
        for argument in function.arg_attr.values():
            _check_attribute_names(argument.attr, name)
        bodies[name] = Body.of_function(function)
    if library.gradient:
        raise Unsafe(f"a gradient of {library.gradient[0].function_name}")
    for gradient in library.registered_gradients:
        named = _GRADIENT.fullmatch(gradient.registered_op_type.encode())
        if gradient.gradient_func not in bodies or not named:
            raise Unsafe(f"a gradient of {gradient.registered_op_type}")
    savers = frozenset(name for name, body in bodies.items() if is_saver(body))
    for body in bodies.values():
        allowed = SAVING | _ALLOWED if body.name in savers else _ALLOWED
        for node in body.nodes.values():
            if savers.intersection(called(node)):
                raise Unsafe(f"{node.op} of the function that saves", body.name)
            check_node(node, body, allowed, bodies)
            if node.op in LOOPING:
                refuse_endless_loop(body, node, bodies)
    _refuse_endless_calls(bodies)
    return bodies, savers


def check_node(node: Any, body: Body, allowed: Collection[str], bodies: Bodies) -> None:
    """Check the name, the device, the attributes and the constant sizes of a node.

    Raises:
        Unsafe: one of them is not allowed.
    """
    if node.op not in allowed:
        raise Unsafe(node.op, body.name)
    if not _DEVICE.fullmatch(node.device):
        raise Unsafe(f"{node.op} on the device {node.device}", body.name)
    calls = CALLING.get(node.op, ())
    for function in _functions(node) if calls else ():
        if function.name not in bodies or function.attr:
            raise Unsafe(f"{node.op} of {function.name}, which is not there", body.name)
    for key, value in node.attr.items():
        if (value.HasField("func") or bool(value.list.func)) != (key in calls):
            raise Unsafe(f"{node.op} with a function as {key}", body.name)
        if key.startswith("_") and key not in DESCRIBING:
            raise Unsafe(f"{node.op} with {key}", body.name)
    if set(calls) - set(node.attr):
        raise Unsafe(f"{node.op} without a function", body.name)
    _check_values(node, body.name)
    _check_sizes(node, body)


def _check_attribute_names(attributes: Any, where: str) -> None:
    for key, value in attributes.items():
        if key not in DESCRIBING or value.HasField("func") or value.list.func:
            raise Unsafe(f"the attribute {key}", where)


def _check_values(node: Any, where: str) -> None:
    """Check the attributes whose values matter."""
    attributes = node.attr
    for value in attributes.values():
        try:
            for tensor in (
                *((value.tensor,) if value.HasField("tensor") else ()),
                *value.list.tensor,
            ):
                bytes_of(tensor)
        except Unsafe as error:
            raise Unsafe(error.what, where) from None
    if node.op == "Const" and not attributes["value"].HasField("tensor"):
        raise Unsafe("Const without a value", where)
    if "_gradient_op_type" in attributes:
        named = attributes["_gradient_op_type"].s
        if not _GRADIENT.fullmatch(named):
            raise Unsafe(f"{node.op} with the gradient of {named!r}", where)
    for key in ("container", "executor_type"):
        if key in attributes and attributes[key].s:
            raise Unsafe(f"{node.op} with {key} {attributes[key].s!r}", where)
    if "config_proto" in attributes:
        _check_config(node.op, attributes["config_proto"].s, where)


def _check_config(op: str, content: bytes, where: str) -> None:
    """Refuse settings of a call that TensorFlow does not write down on its own."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import config_pb2

    try:
        config = config_pb2.ConfigProto.FromString(content)
    except DecodeError:
        raise Unsafe(f"{op} with damaged settings", where) from None
    rewriting = config.graph_options.rewrite_options
    fields = {field.name for field, _ in config.ListFields()} - _SETTINGS
    fields |= {field.name for field, _ in config.experimental.ListFields()} - _EXPERIMENTAL
    if fields or rewriting.optimizers or rewriting.custom_optimizers:
        setting = min(fields, default="optimizers of graphs")
        raise Unsafe(f"{op} with settings for {setting}", where)


def _check_sizes(node: Any, body: Body) -> None:
    """Refuse a result that is too large where constants alone give its size."""
    inputs = data_inputs(node)
    for group in SIZES.get(node.op, ()):
        known = [body.known(inputs[place]) for place in group if place < len(inputs)]
        numbers = [abs(number) for part in known if part for number in part]
        # Paddings may be 0, and an unknown dimension is -1.
        if math.prod(max(number, 1) for number in numbers) > ELEMENTS:
            raise Unsafe(f"{node.op} of {' x '.join(map(str, numbers))} values", body.name)
    if node.op == "Range" and len(inputs) == 3:
        start, limit, step = (body.known(reference) or () for reference in inputs)
        single = len(start) == len(limit) == len(step) == 1 and step[0]
        if single and abs(limit[0] - start[0]) // abs(step[0]) > ELEMENTS:
            raise Unsafe(f"Range of {start[0]} to {limit[0]}", body.name)


def called(node: Any) -> set[str]:
    """Return the names of the functions that a node calls; no other node may refer to one."""
    if node.op not in CALLING:
        return set()
    return {function.name for function in _functions(node)}


def _functions(node: Any) -> Iterator[Any]:
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func
        yield from value.list.func


def _refuse_endless_calls(bodies: Bodies) -> None:
    """Refuse functions that call themselves, or call others that call others without end."""
    calls = {
        name: [callee for node in body.nodes.values() for callee in sorted(called(node))]
        for name, body in bodies.items()
    }
    try:
        order = list(TopologicalSorter(calls).static_order())
    except CycleError as error:
        raise Unsafe("a function that calls itself", str(error.args[1][0])) from None
    nodes: dict[str, int] = {}
    for name in order:
        nodes[name] = len(bodies[name].nodes) + sum(nodes[callee] for callee in calls[name])
        if nodes[name] > NODES:
            raise Unsafe(f"calls of more than {NODES} operations", name)
