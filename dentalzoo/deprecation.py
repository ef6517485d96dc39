"""Deprecate functions, classes and keyword arguments: the old name works for one more release.

Every warning is a `FutureWarning`, the category that Python documents for "deprecated features when
those warnings are intended for end users", and that scikit-learn uses for the same reason. Python
hides a `DeprecationWarning` unless the call is in `__main__`: it would not reach the user whose
training script is imported or started from a library, before the name is gone.

With Python's default filters each call site warns once. The usual filters apply: `-W error` raises
at every call, `-W ignore::FutureWarning` silences them.
"""

import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, TypeVar

_T = TypeVar("_T", bound=Callable[..., Any])


def deprecated(since: str, use: str) -> Callable[[_T], _T]:
    """Return a decorator that deprecates a function or a class.

    A call of the function, or the construction of an instance, warns. The signature stays; the
    docstring gains a `.. deprecated::` paragraph after its summary. A class stays the same object,
    so `isinstance` and pickles keep working. `@classmethod`, `@staticmethod` and `@property` must
    stand above this decorator.

    Args:
        since: the first version of dentalzoo with the warning, such as "0.2.0".
        use: the replacement, such as "dentalzoo.augment_dataset".

    Example:
        >>> @deprecated("0.2.0", use="dentalzoo.augment_dataset")
        ... def enlarge(data): ...
    """

    def decorate(target: _T) -> _T:
        name = getattr(target, "__qualname__", repr(target))
        message = f"{name} is deprecated since dentalzoo {since}; use {use} instead"
        if isinstance(target, type):
            type.__setattr__(target, "__init__", _warning_init(target, message))
            result: Any = target
        else:
            result = _warning(target, message)
        result.__doc__ = _documented(target.__doc__, since, f"Use `{use}` instead.")
        result.__deprecated__ = message  # where PEP 702 puts it: tools look there
        return result

    return decorate


def renamed_arguments(since: str, /, **names: str) -> Callable[[_T], _T]:
    """Return a decorator that accepts keyword arguments under their old names, with a warning.

    Args:
        since: the first version of dentalzoo with the new names, such as "0.2.0".
        **names: old name -> new name.

    Raises:
        TypeError: a new name is not a keyword argument of the function, or an old one still is; at
            a call, the same argument came under both names.

    Example:
        >>> @renamed_arguments("0.2.0", storage="weights_dtype")
        ... def export(model, weights_dtype="float32"): ...
    """

    def decorate(function: _T) -> _T:
        name = getattr(function, "__qualname__", repr(function))
        _check_names(name, inspect.signature(function), names)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            for old in [old for old in names if old in kwargs]:
                new = names[old]
                if new in kwargs:
                    raise TypeError(f"{name}() must get {new} once. Received: {new} and {old}")
                _warn(
                    f"the argument {old} of {name} is deprecated since dentalzoo {since}; "
                    f"use {new} instead"
                )
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]  # takes what `function` takes, and more

    return decorate


def replaced_values(since: str, /, **values: Mapping[Any, Any]) -> Callable[[_T], _T]:
    """Return a decorator that accepts old values of keyword arguments, with a warning.

    Args:
        since: the first version of dentalzoo with the new values, such as "0.2.0".
        **values: argument -> {old value: new value}; a value of another type is another value.

    Example:
        >>> @replaced_values("0.2.0", mixed_precision={True: "bfloat16", False: None})
        ... def train(name, *, mixed_precision=None): ...
    """

    def decorate(function: _T) -> _T:
        name = getattr(function, "__qualname__", repr(function))

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            for key, table in values.items():
                for old, new in table.items():
                    if type(kwargs.get(key)) is type(old) and kwargs[key] == old:
                        _warn(
                            f"{key}={old!r} of {name} is deprecated since dentalzoo {since}; "
                            f"use {key}={new!r} instead"
                        )
                        kwargs[key] = new
            return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]  # takes what `function` takes, and more

    return decorate


def _warning(function: Callable[..., Any], message: str) -> Any:
    """Return `function` with a warning before each call."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        _warn(message)
        return function(*args, **kwargs)

    return wrapper


def _warning_init(cls: Any, message: str) -> Any:
    """Return the `__init__` of a class with a warning before each call."""
    init = _warning(cls.__init__, message)
    if cls.__init__ is not object.__init__ or cls.__new__ is object.__new__:
        return init

    # `__new__` takes the arguments, which object.__init__ would refuse once it is replaced.
    @functools.wraps(object.__init__)
    def wrapper(self: object, *args: Any, **kwargs: Any) -> None:
        _warn(message)

    return wrapper


def _warn(message: str) -> None:
    """Warn at the first frame outside this file: decorators may be stacked."""
    frame: FrameType | None = sys._getframe()
    here, level = sys._getframe().f_code.co_filename, 1
    while frame is not None and frame.f_code.co_filename == here:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, FutureWarning, stacklevel=level)


def _documented(doc: str | None, since: str, text: str) -> str:
    """Return a docstring with a `.. deprecated::` paragraph after its first one."""
    summary, _, rest = inspect.cleandoc(doc or "").partition("\n\n")
    note = f".. deprecated:: {since}\n   {text}"
    return "\n\n".join(part for part in (summary, note, rest) if part)


def _check_names(name: str, signature: inspect.Signature, names: dict[str, str]) -> None:
    keywords = {
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    for old, new in names.items():
        if new not in keywords or old in keywords:
            raise TypeError(
                f"{name}() must have the new name as a keyword argument, and not the old one. "
                f"Received: {old} -> {new}"
            )
