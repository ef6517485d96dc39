"""Kinds of JSON values, from which the format of a file is declared, and their check.

A kind describes itself in errors: "metrics must be a table of ...". All sizes are bounded.
"""

import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

# What text must not hold: control characters other than tab and line ends, line separators of
# Unicode, marks that change the direction of the text around them, halves of surrogate pairs.
UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

_MAX_WHOLE = 2**63 - 1  # int64
_MAX_KEY = 256  # characters of a key
_MAX_ITEMS = 10_000  # of a list or a table
_MAX_SHOWN = 200  # characters of a value in a message


class Mismatch(ValueError):
    """A value that is not of its kind; the message has the place, the kind and the value."""

    @classmethod
    def of(cls, where: str, expected: object, value: Any) -> "Mismatch":
        """Return the mismatch of a value that must be `expected`, at the place `where`."""
        place = "".join(c if c.isprintable() else "?" for c in where[:200]) or "the file"
        return cls(f"{place} must be {expected}. Received: {shown(value)}")


class Kind(Protocol):
    """A kind of values; `str` describes it."""

    def check(self, value: Any, where: str) -> None:
        """Raise Mismatch for a value of another kind.

        Args:
            where: its place in the file, such as `signatures.serve`.
        """


@dataclass(frozen=True)
class Text:
    """Text without unsafe characters.

    Attributes:
        longest: the greatest number of characters.
        pattern: a regular expression that it must match as a whole.
        what: the pattern in words.
    """

    longest: int
    pattern: str = r"[\s\S]*"
    what: str = "text"

    def __str__(self) -> str:
        return f"{self.what} of at most {self.longest} characters, none of them a control character"

    def check(self, value: Any, where: str) -> None:
        if (
            not isinstance(value, str)
            or len(value) > self.longest
            or UNSAFE.search(value)
            or not re.fullmatch(self.pattern, value)
        ):
            raise Mismatch.of(where, self, value)


@dataclass(frozen=True)
class Whole:
    """An integer within bounds, both included."""

    low: int = -_MAX_WHOLE
    high: int = _MAX_WHOLE

    def __str__(self) -> str:
        return f"an integer from {self.low} to {self.high}"

    def check(self, value: Any, where: str) -> None:
        if type(value) is not int or not self.low <= value <= self.high:
            raise Mismatch.of(where, self, value)


@dataclass(frozen=True)
class Number:
    """A finite number, within bounds where there are any, both included."""

    low: float = -math.inf
    high: float = math.inf

    def __str__(self) -> str:
        if math.isfinite(self.low) and math.isfinite(self.high):
            return f"a number from {self.low} to {self.high}"
        return "a finite number below 2**63"

    def check(self, value: Any, where: str) -> None:
        whole = type(value) is int and abs(value) <= _MAX_WHOLE
        finite = whole or type(value) is float and math.isfinite(value)
        if not finite or not self.low <= value <= self.high:
            raise Mismatch.of(where, self, value)


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[str | int, ...]

    def __str__(self) -> str:
        return f"one of: {', '.join(map(str, self.values))}"

    def check(self, value: Any, where: str) -> None:
        if not isinstance(value, str | int) or value not in self.values or value is True:
            raise Mismatch.of(where, self, value)


@dataclass(frozen=True)
class Optional:
    """A value of a kind, or null."""

    kind: Kind

    def __str__(self) -> str:
        return f"null, or {self.kind}"

    def check(self, value: Any, where: str) -> None:
        if value is not None and not fits(self.kind, value):
            raise Mismatch.of(where, self, value)


@dataclass(frozen=True)
class ListOf:
    """A list of values of a kind."""

    kind: Kind
    longest: int = _MAX_ITEMS
    shortest: int = 0

    def __str__(self) -> str:
        return f"a list of {self.shortest} to {self.longest} items"

    def check(self, value: Any, where: str) -> None:
        if not isinstance(value, list) or not self.shortest <= len(value) <= self.longest:
            raise Mismatch.of(where, self, value)
        for index, item in enumerate(value):
            self.kind.check(item, f"{where}[{index}]")


@dataclass(frozen=True)
class Table:
    """Any keys of a kind, each with a value of a kind."""

    values: Kind
    keys: Kind = Text(_MAX_KEY, r".+", "a key")
    fewest: int = 0
    most: int = _MAX_ITEMS

    def __str__(self) -> str:
        return f"a table of {self.fewest} to {self.most} entries"

    def check(self, value: Any, where: str) -> None:
        if not isinstance(value, dict) or not self.fewest <= len(value) <= self.most:
            raise Mismatch.of(where, self, value)
        for key, item in value.items():
            self.keys.check(key, f"a key of {where or 'the file'}")
            self.values.check(item, f"{where}.{key}" if where else key)


@dataclass(frozen=True)
class Plain:
    """Any value: null, true, false, a finite number, text, and lists and tables of these.

    Attributes:
        depth: of lists and tables within each other.
        text: the kind of its texts.
    """

    depth: int = 6
    text: Text = Text(20_000)

    def __str__(self) -> str:
        return (
            f"a finite number below 2**63, text of at most {self.text.longest} characters, true, "
            f"false, null, or at most {self.depth} levels of lists and tables of these"
        )

    def check(self, value: Any, where: str) -> None:
        if value is None or isinstance(value, bool):
            return
        if isinstance(value, str):
            self.text.check(value, where)
        elif isinstance(value, list | dict) and self.depth:
            inner = Plain(self.depth - 1, self.text)
            (ListOf if isinstance(value, list) else Table)(inner).check(value, where)
        elif not fits(Number(), value):
            raise Mismatch.of(where, self, value)


@dataclass(frozen=True)
class Record:
    """A table with keys of its own.

    Attributes:
        fields: key -> kind; all must be there.
        optional: key -> kind; they may be absent.
        others: the kind of the values of any other key.
    """

    fields: Mapping[str, Kind]
    optional: Mapping[str, Kind] = field(default_factory=dict)
    others: Kind = Plain()

    def __str__(self) -> str:
        return f"a table with: {', '.join(self.fields)}"

    def check(self, value: Any, where: str) -> None:
        Table(Anything()).check(value, where)
        for key in self.fields:
            if key not in value:
                raise Mismatch(f"{where or 'the file'} must have {key!r}. Received: none")
        known = {**self.optional, **self.fields}
        for key, item in value.items():
            known.get(key, self.others).check(item, f"{where}.{key}" if where else key)


@dataclass(frozen=True)
class Anything:
    """A value that is checked elsewhere."""

    def check(self, value: Any, where: str) -> None:
        """Accept it."""


def fits(kind: Kind, value: Any) -> bool:
    """Return True for a value of a kind."""
    try:
        kind.check(value, "")
    except Mismatch:
        return False
    return True


def cleaned(value: Any) -> Any:
    """Return a value as a file may hold it: without unsafe characters, NaN as null.

    Numbers that are not finite are no JSON, and file names may hold any bytes.
    """
    if isinstance(value, str):
        return UNSAFE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    return [cleaned(item) for item in value] if isinstance(value, list | tuple) else value


def shown(value: Any) -> str:
    """Return a value as short and printable text for a message, whatever it is."""
    short = reprlib.Repr()
    short.maxlevel, short.maxdict, short.maxlist = 3, 4, 6
    short.maxstring = short.maxother = short.maxlong = 80
    text = short.repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
