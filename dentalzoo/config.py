"""Settings of papers and options of tasks: declared once, with their bounds, and checked once.

A field made by `setting` or `option` carries its `Rule` as metadata. `dentalzoo info` shows it, the
command line makes its flags of it, and `check_fields` checks values by it and by the annotation.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    from dentalzoo.ops.calibration import Scaling

T = TypeVar("T")


@dataclass(frozen=True)
class Rule:
    """The values that a field may hold, besides its type, and what is known of it.

    Attributes:
        source: where the default comes from: a section of the paper, or "ours".
        help: what the field does; for options the help text of the flag.
        choices: the allowed values; of a tuple, of its items.
        low, high: bounds of a number; of a tuple, of its items. Both included.
        rising: a pair is (low, high) with low <= high.
        min_items: the smallest length of a tuple of any length.
        init: the field names a file that a training starts from; a bundle is built without it.
        freezes: weights that come from that file are not trained. A network that will be trained
            is built with it, even where its weights are then replaced.
    """

    source: str = ""
    help: str = ""
    choices: tuple[Any, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    rising: bool = False
    min_items: int = 0
    init: bool = False
    freezes: bool = False


def setting(
    default: T,
    source: str,
    *,
    choices: Iterable[Any] = (),
    low: float = -math.inf,
    high: float = math.inf,
    rising: bool = False,
    min_items: int = 0,
    init: bool = False,
    freezes: bool = False,
) -> T:
    """Return a field of a paper's config; see `Rule`."""
    rule = Rule(source, "", tuple(choices), low, high, rising, min_items, init, freezes)
    return dataclasses.field(default=default, metadata={"rule": rule})


def option(
    default: T,
    help: str,
    *,
    choices: Iterable[Any] = (),
    low: float = -math.inf,
    high: float = math.inf,
    rising: bool = False,
) -> T:
    """Return a field of a task's options; see `Rule`."""
    rule = Rule("", help, tuple(choices), low, high, rising)
    return dataclasses.field(default=default, metadata={"rule": rule})


def rule_of(field: "dataclasses.Field[Any]") -> Rule:
    """Return the rule of a dataclass field; an empty one where it has none."""
    return typing.cast(Rule, field.metadata.get("rule", Rule()))


@dataclass(frozen=True)
class PaperConfig:
    """Base of the papers' configs: frozen, flat, checked when it is made.

    A subclass declares its fields with `setting`, rules between fields in `check`, and in `RENAMED`
    the old names of its settings, so that configs stored in older bundles keep loading.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {}  # old name -> name
    RENAMED_VALUES: ClassVar[Mapping[tuple[str, str], str]] = {}  # (name, old value) -> value
    CALIBRATES: ClassVar[bool] = False  # the functions return probabilities, see `calibrated`

    def __post_init__(self) -> None:
        check_fields(self)
        self.check()

    def check(self) -> None:
        """Check the rules between settings.

        Raises:
            DentalzooError: two settings contradict each other.
        """

    @property
    def scaling(self) -> "Scaling":
        """The map from the network's probabilities to those that the functions return."""
        from dentalzoo.ops.calibration import Scaling

        return Scaling(getattr(self, "temperature", 1.0), getattr(self, "score_bias", 0.0))

    def calibrated(self, scaling: "Scaling") -> Self:
        """Return the config whose functions return calibrated probabilities.

        Args:
            scaling: the map from those of the network; it replaces the config's own.

        Raises:
            DentalzooError: the paper's functions return no probabilities.
        """
        raise DentalzooError(
            "calibration is for models that return masks or the scores of boxes. "
            f"Received: {type(self).__module__.split('.')[-2]}"
        )

    @classmethod
    def renamed(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings by name with old names and values translated, and nothing checked."""
        settings = {cls.RENAMED.get(key, key): value for key, value in values.items()}
        return {
            key: cls.RENAMED_VALUES.get((key, value), value) if isinstance(value, str) else value
            for key, value in settings.items()
        }

    @classmethod
    def from_metadata(cls, values: Mapping[str, Any]) -> Self:
        """Return the config that a bundle's metadata describe.

        Args:
            values: settings by name, as JSON holds them; old names are translated.

        Raises:
            DentalzooError: a setting that this version does not know, or a value it refuses.
        """
        known = field_names(cls)
        renamed = cls.renamed(values)
        for key, value in renamed.items():
            if key not in known:
                raise DentalzooError(
                    "the settings of a bundle must be known to this version of dentalzoo; install "
                    f"the version that made the bundle. {did_you_mean(key, known)}"
                    f"Received: {key}={value!r}"
                )
        return cls(**renamed)

    def without_init(self, keep: Iterable[str] = (), for_training: bool = False) -> Self:
        """Return the config of a network whose weights come from elsewhere.

        Args:
            keep: settings that stay although a training starts from them.
            for_training: keep those that decide which weights are trained.
        """
        init_fields = {
            field.name: None
            for field in dataclasses.fields(self)
            if rule_of(field).init
            and field.name not in keep
            and not (for_training and rule_of(field).freezes)
        }
        return dataclasses.replace(self, **init_fields)


def field_names(cls: Any) -> tuple[str, ...]:
    """Return the names of a dataclass' fields, in order."""
    return tuple(field.name for field in dataclasses.fields(cls))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "Did you mean X? ", or an empty string where nothing known is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {close[0]}? " if close else ""


def settings_of(config: PaperConfig) -> dict[str, dict[str, Any]]:
    """Describe each setting of a config: value, allowed values and source, as plain values."""
    return {
        field.name: {
            "value": getattr(config, field.name),
            "allowed": _described(_hints(type(config))[field.name], rule_of(field)),
            "source": rule_of(field).source,
        }
        for field in dataclasses.fields(config)
    }


# ---- checks --------------------------------------------------------------------------------------


def check_fields(instance: Any) -> None:
    """Check every field of a dataclass by its annotation and its rule.

    A list, which JSON brings, becomes the tuple that is annotated, an int the float, a whole float
    the int, and a number or array of NumPy what it holds.

    Raises:
        DentalzooError: a value that is not allowed; the message names the field.
    """
    hints = _hints(type(instance))
    for field in dataclasses.fields(instance):
        value, rule = getattr(instance, field.name), rule_of(field)
        try:
            checked = _checked(value, hints[field.name], rule)
        except ValueError:
            raise DentalzooError(
                f"{field.name} must be {_described(hints[field.name], rule)}. Received: {value!r}"
            ) from None
        if checked is not value:
            object.__setattr__(instance, field.name, checked)


def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _checked(value: Any, annotation: Any, rule: Rule) -> Any:
    """Return the value as its annotation has it; ValueError where it is not allowed."""
    kind, optional = _without_none(annotation)
    if value is None and (optional or None in rule.choices):
        return None
    if hasattr(value, "tolist"):  # of NumPy
        value = value.tolist()
    if typing.get_origin(kind) is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError
        items = typing.get_args(kind)
        count = None if items[-1] is Ellipsis else len(items)
        if len(value) < rule.min_items or count not in (None, len(value)):
            raise ValueError
        checked = tuple(_checked(item, items[0], rule) for item in value)
        if rule.rising and not checked[0] <= checked[1]:
            raise ValueError
        return checked
    if kind in (int, float) and isinstance(value, bool):
        raise ValueError
    if kind is float and isinstance(value, int | float):
        value = float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if kind in (int, float, str, bool) and not isinstance(value, kind):
        raise ValueError
    if rule.choices and value not in rule.choices:
        raise ValueError
    if kind in (int, float) and not (math.isfinite(value) and rule.low <= value <= rule.high):
        raise ValueError
    return value


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """Split `X | None` into X and whether None is allowed."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        kinds = [kind for kind in typing.get_args(annotation) if kind is not types.NoneType]
        return kinds[0], len(kinds) < len(typing.get_args(annotation))
    return annotation, False


def _described(annotation: Any, rule: Rule) -> str:
    kind, optional = _without_none(annotation)
    several = typing.get_origin(kind) is tuple
    items = typing.get_args(kind) if several else ()
    item = items[0] if several else kind
    if rule.choices:
        listed = ", ".join(str(choice) for choice in rule.choices)
        text = f"some of: {listed}" if several else f"one of: {listed}"
        return text if not optional or None in rule.choices else f"{text}, or None"
    nouns = {int: "an integer", float: "a number", str: "a string", bool: "True or False"}
    text = nouns.get(item, getattr(item, "__name__", str(item)))
    if several:
        noun = {int: "integers", float: "numbers", str: "strings"}.get(item, f"{text}s")
        number = f"{rule.min_items} or more " if rule.min_items else ""
        number = number if items[-1] is Ellipsis else f"{len(items)} "
        text = f"a tuple of {number}{noun}"
        if rule.rising:
            text = "(low, high) with low <= high"
    if rule.low > -math.inf and rule.high < math.inf:
        text += f" from {rule.low:g} to {rule.high:g}"
    elif rule.low > -math.inf:
        text += f" >= {rule.low:g}"
    elif rule.high < math.inf:
        text += f" <= {rule.high:g}"
    return f"{text}, or None" if optional else text


def require_multiple(name: str, size: tuple[int, int], multiple: int = 1) -> None:
    """Check that a (height, width) consists of positive multiples of `multiple`.

    Raises:
        DentalzooError: it does not; the message names the setting.
    """
    if any(side < 1 or side % multiple for side in size):
        raise DentalzooError(
            f"{name} must be (height, width), multiples of {multiple}; images of other sizes are "
            f"resized to it. Received: {size}"
        )
