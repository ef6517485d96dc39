"""Calibrated probabilities in a bundle that is written: the map, and the record of it."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dentalzoo import registry
from dentalzoo.bundle.loaded import Bundle
from dentalzoo.bundle.metadata import Metadata, spec_of
from dentalzoo.config import PaperConfig

if TYPE_CHECKING:
    from dentalzoo.ops.calibration import Calibration

Calibrate = Callable[[Bundle], "Calibration | None"]
"""Returns the map from the probabilities of a bundle to calibrated ones; None for none."""

_THRESHOLDS = ("threshold", "score_threshold", "sweep_score_threshold")  # among the metrics


def calibrated(
    path: Path, name: str, stored: Any, config: PaperConfig, calibrate: Calibrate
) -> tuple[PaperConfig, Mapping[str, Any] | None]:
    """Return the config with the map that `calibrate` finds, and the record of it."""
    from dentalzoo.ops.calibration import Scaling

    config = config.calibrated(Scaling())
    functions = registry.module_of(name).signatures(stored, config)
    found = calibrate(unwritten(path, name, config, functions))
    return (config, None) if found is None else (config.calibrated(found.scaling), found.record)


def unwritten(path: Path, name: str, config: PaperConfig, functions: Mapping[str, Any]) -> Bundle:
    """Return the bundle that functions of a model will be, to be measured before it is written.

    Its metadata are what a task reads: name, task, signatures and settings.
    """

    def computed(function: Any) -> Callable[..., Mapping[str, Any]]:
        return lambda **arrays: {key: value.numpy() for key, value in function(**arrays).items()}

    traced = _Lazy(functions, lambda function: function.get_concrete_function())
    metadata = {
        "name": name,
        "tag": None,
        "task": registry.ZOO[name].task,
        "signatures": _Lazy(traced, spec_of),
        "config": json.loads(json.dumps(dataclasses.asdict(config))),
    }
    return Bundle(path, cast(Metadata, metadata), cast(Any, _Lazy(traced, computed)))


class _Lazy(Mapping[str, Any]):
    """What a function makes of each value of a mapping, made once, where it is asked for."""

    def __init__(self, values: Mapping[str, Any], make: Callable[[Any], Any]) -> None:
        self._values, self._make = values, make
        self._made: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        if key not in self._made:
            self._made[key] = self._make(self._values[key])
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def kept_record(old: Metadata, kept: bool) -> dict[str, Any]:
    """Return the record of a calibration, without what was measured with other weights."""
    record = old.get("calibration", {})
    measured = ("ece_", "log_loss_")
    return {key: value for key, value in record.items() if kept or not key.startswith(measured)}


def moved_metrics(made: Bundle, before: PaperConfig) -> dict[str, Any]:
    """Return the metrics of a bundle whose map is new.

    What depends on the order of probabilities stays; the calibration error is that of the old map.
    """

    def moved(value: float) -> float:
        return round(made.config.scaling.of(before.scaling.inverse.of(value)), 6)

    errors = ("ece", "ece_uncalibrated")
    metrics = {k: value for k, value in made.metadata["metrics"].items() if k not in errors}
    thresholds = {key: moved(metrics[key]) for key in _THRESHOLDS if key in metrics}
    return {**metrics, **thresholds}
