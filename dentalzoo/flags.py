"""The flags of a verb, made of the option dataclasses of the tasks that have it."""

import argparse
import types
import typing
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from dentalzoo.config import Rule, rule_of
from dentalzoo.tasks.options import OPTIONS


def add_task_options(parser: argparse.ArgumentParser, verb: str, task: str | None) -> None:
    """Add a flag for each option of a verb, in a group for the tasks that share it."""
    tasks = [name for name, kinds in OPTIONS.items() if verb in kinds and task in (None, name)]
    tasks = tasks or [name for name, kinds in OPTIONS.items() if verb in kinds]
    owners: dict[str, list[str]] = {}
    for name in tasks:
        for field in fields(OPTIONS[name][verb]):
            owners.setdefault(field.name, []).append(name)
    groups: dict[tuple[str, ...], argparse._ArgumentGroup] = {}
    for option, names in owners.items():
        key = tuple(names)
        if key not in groups:
            groups[key] = parser.add_argument_group(f"options for {', '.join(names)}")
        _add_option(groups[key], verb, option, names)


def _add_option(
    group: "argparse._ArgumentGroup", verb: str, option: str, tasks: Sequence[str]
) -> None:
    described: dict[str, list[str]] = {}
    choices: dict[Any, None] = {}  # of all tasks, in order; each checks its own
    for name in tasks:
        kind = OPTIONS[name][verb]
        field = next(field for field in fields(kind) if field.name == option)
        described.setdefault(_help_of(rule_of(field), field.default), []).append(name)
        choices |= dict.fromkeys(rule_of(field).choices)
    texts = list(described)
    if len(texts) > 1:
        texts = [f"{', '.join(names)}: {text}" for text, names in described.items()]
    flag = f"--{option.replace('_', '-')}"
    arguments: dict[str, Any] = {
        "dest": f"option_{option}",
        "default": argparse.SUPPRESS,
        "help": "; ".join(texts).replace("%", "%%"),
    }
    annotation = typing.get_type_hints(kind)[option]
    if typing.get_origin(annotation) is types.UnionType:
        annotation = next(a for a in typing.get_args(annotation) if a is not types.NoneType)
    if annotation is bool:
        group.add_argument(flag, action="store_true", **arguments)
        return
    if typing.get_origin(annotation) is tuple:
        annotation = typing.get_args(annotation)[0]
        arguments["nargs"] = "+"
    metavar = None if choices else option.upper()
    allowed = list(choices) or None
    group.add_argument(flag, type=annotation, choices=allowed, metavar=metavar, **arguments)


def _help_of(rule: Rule, default: Any) -> str:
    if default is None:
        return rule.help
    if isinstance(default, bool) or default == ():
        return rule.help
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{rule.help} (default {shown})"
