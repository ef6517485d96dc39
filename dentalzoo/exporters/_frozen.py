"""Shared by exporters of runtimes without TensorFlow: a file a function, with constant weights."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from dentalzoo.errors import DentalzooError
from dentalzoo.exporters._quiet import without_warnings

_log = logging.getLogger("dentalzoo")

INTERFACE = "interface.json"
NOISE = "noise"
"""Name of an input (n, D) float32, in place of the inputs seed and n of what draws it."""

_DRAWS = "StatelessRandomNormalV2"
_FACTORS = "Cholesky"  # of weights alone: LiteRT lacks it

# What reading an interface.json raises that `write` did not write.
_FOREIGN = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
# What runtimes lack, by the operation of TensorFlow that shows it; with what a caller does instead.
LACKING: Mapping[str, str] = {
    "DecodeImage": "decodes image files: decode them, and call the signature that takes images",
    "Unique": "checks camera indices: call serve with ten views, black where one is missing",
}


def write(
    path: Path,
    functions: Mapping[str, Any],
    suffix: str,
    lacking: Mapping[str, str],
    convert: Callable[[str, Any], bytes],
) -> Path:
    """Write the functions that a runtime can hold to a new folder, and interface.json.

    Args:
        path: the folder to make.
        functions: name -> `tf.function` with an input signature, which returns a dict.
        suffix: of the files.
        lacking: operation that the runtime lacks -> what to do instead.
        convert: name and module, whose `function` has no variables -> the content of its file.

    Returns:
        `path`.

    Raises:
        DentalzooError: a function cannot be converted.
        OSError: a file cannot be written.
    """
    path.mkdir()
    interface: dict[str, dict[str, Any]] = {"signatures": {}, "left_out": {}}
    for number, (name, function) in enumerate(functions.items(), 1):
        module = freeze(function)
        concrete = module.function.get_concrete_function()
        reasons = [lacking[op] for op in sorted(operations(concrete) & lacking.keys())]
        if reasons:
            interface["left_out"][name] = reasons[0]
            continue
        try:
            _log.info("writing %s, %d of %d", name, number, len(functions))
            with without_warnings():
                content = convert(name, module)
        except Exception as error:  # of several libraries, without a common class
            line = (str(error).strip().splitlines() or [repr(error)])[0]
            raise DentalzooError(
                f"{name} could not be converted. Received: {line[:300]}"
            ) from error
        (path / f"{name}{suffix}").write_bytes(content)
        interface["signatures"][name] = {
            "file": f"{name}{suffix}",
            "inputs": [spec.name for spec in module.function.input_signature],
            "outputs": sorted(concrete.structured_outputs),
        }
        if (width := _width(module)) is not None:
            interface["signatures"][name]["noise"] = width
    (path / INTERFACE).write_text(json.dumps(interface, indent=1) + "\n")
    return path


def _width(module: Any) -> int | None:
    """Return the width of the noise that a module of `freeze` takes, None where it takes none."""
    specs = {spec.name: spec for spec in module.function.input_signature}
    return specs[NOISE].shape[1] if NOISE in specs else None


def inputs_of(module: Any, calls: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the inputs of a module of `freeze` for calls of the function it was made of."""
    from dentalzoo.exporters import _noise

    width = _width(module)
    if width is None:
        return calls
    return [{NOISE: _noise.stateless_normal(**call, width=width)} for call in calls]


def load(
    path: Path, suffix: str, run: Callable[[Path, list[str]], Callable[..., Any]]
) -> Mapping[str, Any]:
    """Return name -> function of named arrays, of the files that `write` wrote.

    A file is read when its function is called for the first time.

    Args:
        path: the folder, which need not be trusted.
        suffix: of the files.
        run: file and names of the outputs -> function from named arrays to arrays by name.

    Raises:
        DentalzooError: interface.json is not what `write` writes.
    """
    try:
        signatures = json.loads((path / INTERFACE).read_bytes())["signatures"]
        outputs = {name: list(entry["outputs"]) for name, entry in signatures.items()}
        files = {name: path / entry["file"] for name, entry in signatures.items()}
        widths = {
            name: int(entry["noise"]) for name, entry in signatures.items() if "noise" in entry
        }
    except _FOREIGN as error:
        raise DentalzooError(
            f"{path / INTERFACE} must describe the functions beside it. Received: {error}"
        ) from None
    for name, file in files.items():
        if file != path / f"{name}{suffix}" or file.parent != path:
            raise DentalzooError(
                f"{path / INTERFACE}: the file of {name} must be {name}{suffix}. Received: {file}"
            )

    def function_of(name: str) -> Callable[..., dict[str, Any]]:
        @cache
        def read() -> Callable[..., Any]:
            from dentalzoo.exporters import _noise

            function = run(files[name], outputs[name])
            return _noise.drawn(function, widths[name]) if name in widths else function

        def call(**arrays: Any) -> dict[str, Any]:
            try:
                return dict(read()(**arrays))
            except DentalzooError:
                raise
            except Exception as error:  # of several libraries, without a common class
                line = (str(error).strip().splitlines() or [repr(error)])[0]
                raise DentalzooError(f"{name} failed. Received: {line[:300]}") from error

        return call

    return {name: function_of(name) for name in files}


def operations(concrete: Any) -> set[str]:
    """Return the names of the operations of a function and of those that it calls."""
    graph = concrete.graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return {node.op for node in nodes}


def freeze(function: Any) -> Any:
    """Return a `tf.Module` whose `function` is a function with its variables as constants.

    What its outputs do not need is left out, its inputs and outputs keep their names. Where it
    draws normal numbers from a seed, these become its input, see `_noise`. Matrices that it factors
    become their factors.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    concrete = function.get_concrete_function()
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    specs = {spec.name: spec for spec in function.input_signature}
    order = [tensor.name.partition(":")[0] for tensor in frozen.inputs]
    drawn, factors = (
        [op.outputs[0] for op in frozen.graph.get_operations() if op.type == kind]
        for kind in (_DRAWS, _FACTORS)
    )
    known = [value.numpy() for value in frozen.prune([], factors)()] if factors else []
    if drawn or factors:
        frozen = frozen.prune([*factors, *drawn, *frozen.inputs], frozen.outputs)
    if drawn:
        order = [NOISE, *order]
        specs = {NOISE: tf.TensorSpec(drawn[0].shape, tf.float32, NOISE)}
    names = sorted(concrete.structured_outputs)

    def call(*tensors: Any) -> dict[str, Any]:
        given = dict(zip(specs, tensors, strict=True))
        if drawn:  # what the noise was made of is still checked in the graph
            given |= {spec.name: tf.ones((), spec.dtype) for spec in function.input_signature}
        inputs = (tf.identity(given[name]) for name in order)
        outputs = frozen(*map(tf.constant, known), *inputs)
        return dict(zip(names, outputs, strict=True))

    module = tf.Module()
    module.function = tf.function(call, input_signature=list(specs.values()))
    return module
