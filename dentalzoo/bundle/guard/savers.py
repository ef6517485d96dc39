"""The two functions with which TensorFlow saves and restores variables, compared with their form.

Both take the path of the checkpoint as their first argument, then the variables. What they may do
with files is to write and to read the checkpoint there. A name proves nothing: each operation and
what it is computed from is compared.
"""

from typing import Any

from dentalzoo.bundle.guard.body import Body, Expression, data_inputs
from dentalzoo.bundle.guard.operations import SAVING
from dentalzoo.bundle.guard.refusal import Unsafe

_PATH = ("argument", 0)
_PART = (
    *("Select", ("StaticRegexFullMatch", _PATH), ("Const", (b".part",))),
    ("Const", (b"_temp/part",)),
)
_SHARD = ("ShardedFilename", ("StringJoin", _PATH, _PART), ("Const", (0,)), ("Const", (1,)))
_HARMLESS = frozenset(("Const", "DisableCopyOnRead", "Identity", "NoOp", "Pack", "ReadVariableOp"))
_SAVE = _HARMLESS | {
    *("MergeV2Checkpoints", "SaveV2", "Select", "ShardedFilename", "StaticRegexFullMatch"),
    "StringJoin",
}
_RESTORE = frozenset(("AssignVariableOp", "Const", "Identity", "NoOp", "RestoreV2"))


def is_saver(body: Body) -> bool:
    """Tell whether a function has any operation that only the two may have.

    Raises:
        Unsafe: it has, and is neither of the two.
    """
    found = [node for node in body.nodes.values() if node.op in SAVING]
    if not found:
        return False
    restores = any(node.op in ("AssignVariableOp", "RestoreV2") for node in found)
    allowed = _RESTORE if restores else _SAVE
    for node in body.nodes.values():
        inputs = data_inputs(node)
        if node.op not in allowed or not _in_form(body, node, inputs):
            op = node.op if node.op in SAVING else found[0].op
            raise Unsafe(f"{op} that is not TensorFlow's own", body.name)
    return True


def _in_form(body: Body, node: Any, inputs: list[str]) -> bool:
    """Has a node the inputs that TensorFlow gives it?"""
    parts = [body.expression(name) for name in inputs]
    match node.op:
        case "SaveV2":
            return (
                len(parts) > 3
                and parts[0] == _SHARD
                and _strings(parts[1])
                and _whole(parts[2])
                and all(_is_own(part) for part in parts[3:])
            )
        case "MergeV2Checkpoints":
            return parts == [("Pack", _SHARD), _PATH]
        case "RestoreV2":
            return len(parts) == 3 and parts[0] == _PATH and _strings(parts[1]) and _whole(parts[2])
        case "AssignVariableOp":
            return (
                len(parts) == 2
                and _is_variable(parts[0])
                and parts[1][0].partition(":")[0] == "RestoreV2"
            )
        case "ReadVariableOp" | "DisableCopyOnRead":
            return len(parts) == 1 and _is_variable(parts[0])
    return True  # it computes alone, and has effects through the operations above only


def _is_variable(part: Expression) -> bool:
    return part[0] == "argument" and part != _PATH


def _is_own(part: Expression) -> bool:
    """Is a value that is saved one of a variable, or given to the function as it is?"""
    return _is_variable(part[1] if part[0] == "ReadVariableOp" else part)


def _strings(part: Expression) -> bool:
    return (
        part[0] == "Const"
        and part[1] is not None
        and all(isinstance(each, bytes) for each in part[1])
    )


def _whole(part: Expression) -> bool:
    """Are no slices of tensors asked for?"""
    return _strings(part) and not any(part[1])
