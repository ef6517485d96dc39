"""Calibrated probabilities of a bundle: what is fitted, and the error that is reported."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.errors import DentalzooError
from dentalzoo.ops.calibration import (
    FOLDS,
    Calibration,
    Observed,
    Scaling,
    cross_fitted,
    expected_error,
    fit,
    reliability,
)
from dentalzoo.ops.intervals import interval
from dentalzoo.tasks.base import report_header
from dentalzoo.tasks.scoring import Key, Scores

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_log = logging.getLogger("dentalzoo")


def calibration_of(
    bundle: "Bundle",
    data: str | Path,
    split: str | None,
    images: Sequence[Observed],
    *,
    with_bias: bool,
) -> Calibration:
    """Fit the map to all images; its error is that of each image with a map from other images.

    So nothing that is reported has chosen the map. A map that does not lower the loss of the images
    left out is not taken: the bundle stays as it is.

    Args:
        bundle: whose probabilities were observed.
        data, split: where.
        images: the probabilities of the network itself, without the bundle's own map.
        with_bias: fit a bias too.

    Raises:
        DentalzooError: there are fewer than two images, or nothing or all of it was true.
    """
    whole = Observed.together(images) if images else None
    if whole is None or len(images) < 2 or len(np.unique(whole.truth)) < 2:
        raise DentalzooError(
            "calibration needs two or more images with right and wrong predictions. Received: "
            f"{len(images)} images of {Path(data).name}"
        )
    after = cross_fitted(images, with_bias)
    losses = whole.log_loss(), Observed.together(after).log_loss()
    scaling = fit(whole, with_bias) if losses[1] < losses[0] else Scaling()
    if not scaling.changes:
        _log.warning("the probabilities are left as they are: calibration does not improve them")
        after, losses = list(images), (losses[0], losses[0])
    record = {
        **{key: report_header(bundle, data, split)[key] for key in ("data", "split", "date")},
        "images": len(images),
        "temperature": scaling.temperature,
        "bias": scaling.bias,
        "folds": min(FOLDS, len(images)),
        "ece_before": calibration_error([reliability(image) for image in images]),
        "ece_after": calibration_error([reliability(image) for image in after]),
        "log_loss_before": round(losses[0], 6),
        "log_loss_after": round(losses[1], 6),
    }
    before, now = record["ece_before"]["value"], record["ece_after"]["value"]
    _log.info("calibration error %.4f, before %.4f, cross-validated", now, before)
    return Calibration(scaling, record)


def scaling_of(bundle: "Bundle") -> Scaling:
    """Return the map that is in a bundle's functions."""
    config = bundle.metadata.get("config", {})
    return Scaling(config.get("temperature", 1.0), config.get("score_bias", 0.0))


def calibration_error(tables: Sequence[np.ndarray]) -> dict[str, float | None]:
    """Return the expected calibration error with its 95 % interval over images.

    Args:
        tables: `reliability` of each image.
    """
    return interval(expected_error(np.stack(tables)), len(tables))


def with_errors(
    scores: Scores, tables: Sequence[np.ndarray], before: Sequence[np.ndarray]
) -> Scores:
    """Return scores with the calibration error: "ece", and "ece_uncalibrated" without the map.

    Args:
        scores: of an evaluation.
        tables: `reliability` of each image.
        before: the same without the bundle's own map; empty where it has none.
    """
    errors: dict[Key, Any] = {(None, "ece"): expected_error(np.stack(tables))}
    if before:
        errors[None, "ece_uncalibrated"] = expected_error(np.stack(before))

    def measure(times: np.ndarray) -> dict[Key, np.ndarray]:
        return {**scores.measure(times), **{key: error(times) for key, error in errors.items()}}

    return replace(scores, measure=measure)


def map_report(bundle: "Bundle", data: str | Path, split: str | None) -> dict[str, Any]:
    """Return "calibration" of an evaluation.

    Args:
        bundle: what was evaluated.
        data, split: on what.

    Returns:
        "temperature" and "bias" of the map in the bundle; "fitted_here": the map was fitted to
        these data, so that "ece" is too small: the model card has the cross-validated one.
    """
    scaling, record = scaling_of(bundle), bundle.metadata.get("calibration") or {}
    same = record.get("data") == Path(data).resolve().name
    same = same and split in (None, record.get("split"))
    return {"temperature": scaling.temperature, "bias": scaling.bias, "fitted_here": bool(same)}


def summary_of(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the calibration errors of a report; none on the data that the map was fitted to."""
    if report.get("calibration", {}).get("fitted_here", True):
        return {}
    rows = {key: report["intervals"].get(key) for key in ("ece", "ece_uncalibrated")}
    return {key: row["value"] for key, row in rows.items() if row and row["value"] is not None}
