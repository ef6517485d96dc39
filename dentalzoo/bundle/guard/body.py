"""A function of a graph as a table of nodes, with what its inputs are made of."""

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dentalzoo.bundle.guard.refusal import Unsafe
from dentalzoo.bundle.guard.tensors import values

# `("Less", ("argument", 0), ("Const", (8,)))`: how a value is computed.
Expression = tuple[Any, ...]

_DEPTH = 12
_ELEMENTWISE: dict[str, Callable[[int, int], int]] = {
    "AddV2": operator.add,
    "Mul": operator.mul,
    "Sub": operator.sub,
    "Maximum": max,
    "Minimum": min,
}


class Body:
    """The nodes of a function, or of the main graph, by name.

    Attributes:
        name: the function's name; empty for the main graph.
        arguments: name -> place of each argument.
        nodes: name -> NodeDef.
        results: the references that are returned, in order.
    """

    def __init__(
        self, name: str, nodes: Iterable[Any], arguments: Iterable[str] = (), results: Any = ()
    ):
        self.name = name
        self.arguments = {argument: place for place, argument in enumerate(arguments)}
        self.results: tuple[str, ...] = tuple(results)
        self.nodes: dict[str, Any] = {}
        for node in nodes:
            if node.name in self.nodes or node.name in self.arguments:
                raise Unsafe(f"two nodes of the name {node.name}", name)
            self.nodes[node.name] = node

    @classmethod
    def of_function(cls, function: Any) -> "Body":
        """Read a FunctionDef.

        Raises:
            Unsafe: two nodes have one name, or a result is missing.
        """
        signature = function.signature
        missing = [out.name for out in signature.output_arg if out.name not in function.ret]
        if missing:
            raise Unsafe(f"no result {missing[0]}", signature.name)
        return cls(
            signature.name,
            function.node_def,
            (argument.name for argument in signature.input_arg),
            (function.ret[out.name] for out in signature.output_arg),
        )

    def node_of(self, reference: str) -> Any | None:
        """Return the node that an input `node:output:0` refers to; None for an argument."""
        return self.nodes.get(reference.partition(":")[0])

    def expression(self, reference: str, depth: int = _DEPTH) -> Expression:
        """Return how a value is computed; an Identity is what it stands for."""
        name, _, port = reference.partition(":")
        if name in self.arguments:
            return ("argument", self.arguments[name])
        node = self.nodes.get(name)
        if node is None or depth == 0:
            return ("unknown",)
        inputs = data_inputs(node)
        if node.op == "Identity" and len(inputs) == 1:
            return self.expression(inputs[0], depth - 1)
        if node.op == "Const":
            return ("Const", values(node.attr["value"].tensor))
        number = port.rpartition(":")[2]
        op = node.op if number in ("", "0") else f"{node.op}:{number}"
        return (op, *(self.expression(each, depth - 1) for each in inputs))

    def known(self, reference: str) -> tuple[int, ...] | None:
        """Return the integers that a value consists of, flat, where only constants make it up."""
        return _evaluate(self.expression(reference))


def data_inputs(node: Any) -> list[str]:
    """Return the inputs of a node that are values, without those that only come before it."""
    return [name for name in node.input if not name.startswith("^")]


def _evaluate(expression: Expression) -> tuple[int, ...] | None:
    op, *operands = expression
    if op == "Const":
        content = operands[0]
        ints = content is not None and all(isinstance(each, int) for each in content)
        return content if ints else None
    if op in ("Cast", "Reshape"):
        return _evaluate(operands[0])
    if op == "ConcatV2":
        operands = operands[:-1]
    elif op not in ("Pack", "Prod", *_ELEMENTWISE):
        return None
    parts = [_evaluate(operand) for operand in operands]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if op == "Prod":
        return (math.prod(known[0]),)
    if op in ("Pack", "ConcatV2"):
        return tuple(value for part in known for value in part)
    left, right = known
    length = max(len(left), len(right))
    if {len(left), len(right)} - {1, length}:
        return None
    left, right = left * (length // len(left)), right * (length // len(right))
    return tuple(map(_ELEMENTWISE[op], left, right))


Bodies = Mapping[str, Body]
