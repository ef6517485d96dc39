"""From a bundle and a verb to the function of its task, with checked options."""

import importlib
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from dentalzoo.bundle import Bundle, load
from dentalzoo.config import did_you_mean, field_names
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks import TASKS
from dentalzoo.tasks.options import OPTIONS, Options

if TYPE_CHECKING:
    from dentalzoo.contracts import Task

Function = TypeVar("Function", bound=Callable[..., Any])
Paths = str | Path | Iterable[str | Path]


def with_options_of(verb: str) -> Callable[[Function], Function]:
    """Give a function of **options the signature that names all options of a verb."""

    def named(function: Function) -> Function:
        signature = inspect.signature(function)
        kept = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        known = {parameter.name for parameter in kept}
        extra: dict[str, inspect.Parameter] = {}
        for kinds in OPTIONS.values():
            for name, parameter in inspect.signature(kinds.get(verb, Options)).parameters.items():
                if name not in known:
                    extra[name] = parameter.replace(kind=parameter.KEYWORD_ONLY)
        parameters = [*kept, *extra.values()]
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # read by inspect.signature
        return function

    return named


def task_of(bundle: Bundle) -> "Task":
    """Return the package of a bundle's task.

    Raises:
        DentalzooError: this version does not know the task.
    """
    if bundle.task not in TASKS:
        raise DentalzooError(
            f"the bundle's task must be one of: {', '.join(TASKS)}; update dentalzoo, or call the "
            f"bundle's signatures. Received: {bundle.task!r}"
        )
    return cast("Task", importlib.import_module(TASKS[bundle.task]))


def make_options(task: str, verb: str, given: Mapping[str, Any]) -> Options:
    """Return the options of a task's verb from keywords.

    Raises:
        DentalzooError: a keyword that the task does not have, or a bad value.
    """
    kind = OPTIONS[task][verb]
    known = field_names(kind)
    for key in given:
        if key not in known:
            others = [
                t for t, kinds in OPTIONS.items() if key in field_names(kinds.get(verb, Options))
            ]
            hint = (
                f"{key} is an option for {', '.join(others)}. "
                if others
                else did_you_mean(key, known)
            )
            listed = ", ".join(known) or "no options"
            raise DentalzooError(f"{verb} for {task} has: {listed}. {hint}Received: {key!r}")
    return kind(**given)


def as_paths(inputs: Paths) -> str | Path | list[str | Path]:
    """Return inputs as a path or a list of paths.

    Raises:
        DentalzooError: one of them is no path.
    """
    if isinstance(inputs, str | Path):
        return inputs
    items = list(inputs) if isinstance(inputs, Iterable) else [inputs]
    wrong = [item for item in items if not isinstance(item, str | os.PathLike)]
    if wrong:
        raise DentalzooError(
            "inputs must be paths of files and folders; a signature of the bundle, such as "
            f"bundle.serve, takes arrays. Received: {type(wrong[0]).__name__}"
        )
    return items


def run_verb(
    verb: str,
    bundle: Bundle | str | Path,
    *arguments: Any,
    options: Mapping[str, Any],
    **common: Any,
) -> Any:
    """Call the function `verb` of a bundle's task."""
    bundle = bundle if isinstance(bundle, Bundle) else load(bundle)
    package = task_of(bundle)
    if verb not in OPTIONS[bundle.task]:
        tasks = [task for task, kinds in OPTIONS.items() if verb in kinds]
        raise DentalzooError(
            f"{verb} needs a bundle for {' or '.join(tasks)}. "
            f"Received: {bundle.name}, for {bundle.task}"
        )
    made = make_options(bundle.task, verb, options)
    return getattr(package, verb)(bundle, *arguments, **common, options=made)
