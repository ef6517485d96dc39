"""Loops that end: a counter from 0, raised by 1, below a constant or the size of an argument."""

from collections.abc import Sequence
from typing import Any

from dentalzoo.bundle.guard.body import Bodies, Body, Expression, data_inputs
from dentalzoo.bundle.guard.refusal import Unsafe

TURNS = 10_000  # of a loop whose number of turns is a constant


def refuse_endless_loop(body: Body, node: Any, bodies: Bodies) -> None:
    """Refuse a While of any other form.

    Raises:
        Unsafe: no counter of the condition is bounded.
    """
    condition = bodies[node.attr["cond"].func.name]
    turn = bodies[node.attr["body"].func.name]
    inputs = data_inputs(node)
    if len(condition.results) == 1 and len(turn.results) == len(inputs):
        for left, right in _comparisons(condition.expression(condition.results[0])):
            if left[0] == "argument" and _counts(body, turn, inputs, left[1], right):
                return
    raise Unsafe(f"{node.op} without a bounded counter", body.name)


def _comparisons(condition: Expression) -> list[tuple[Expression, Expression]]:
    """Return the pairs of which the first must be less than the second for another turn."""
    if condition[0] == "LogicalAnd":
        return [pair for part in condition[1:] for pair in _comparisons(part)]
    return [(condition[1], condition[2])] if condition[0] == "Less" else []


def _counts(body: Body, turn: Body, inputs: list[str], counter: int, limit: Expression) -> bool:
    """Is an argument of a loop 0 at first, one more after each turn, and its limit bounded?"""
    if counter >= len(inputs) or body.known(inputs[counter]) != (0,):
        return False
    raised = ("AddV2", ("argument", counter), ("Const", (1,)))
    if turn.expression(turn.results[counter]) != raised:
        return False
    if limit[0] == "Const":
        return _small(limit[1])
    if limit[0] != "argument" or limit[1] >= len(inputs):
        return False
    if turn.expression(turn.results[limit[1]]) != limit:  # it must not grow
        return False
    known = body.known(inputs[limit[1]])
    if known is not None:
        return _small(known)
    number = body.expression(inputs[limit[1]])
    if number[0] != "StridedSlice" or number[1][0] != "Shape":
        return False
    return _is_sent(number[1][1])


def _small(number: Sequence[int] | None) -> bool:
    return number is not None and len(number) == 1 and number[0] <= TURNS


def _is_sent(expression: Expression) -> bool:
    """Is a value an argument, flat or not, or read from one: of a size that the caller chose?"""
    if expression[0] == "Reshape" and expression[2] == ("Const", (-1,)):
        expression = expression[1]
    if expression[0] == "ParseExampleV2":
        expression = expression[1]
    return expression[:1] == ("argument",)
