"""The sign of DICOM pixels, where Pixel Representation contradicts what the pixels are.

Read with the wrong sign, half of the grey values move by the whole range: in unsigned pixels read
as signed the bright half becomes darker than black, in two's complement read as unsigned
everything below 0 becomes white. Neighbours that are alike then differ by almost the whole range,
everywhere where the image passes the middle of it. An image in which this is so, and not so when
the other sign is taken, has the other sign.

White letters on black differ by the whole range, too, and so do saturated areas. So pixels at the
ends of the range are left out, and the other sign counts only where the image comes near to the
jump gradually, or crosses it everywhere as noise around 0 does, or would have no grey values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.data.io.dicom_elements import name_of

if TYPE_CHECKING:
    from dentalzoo.data.io.dicom_pixels import Pixels

# Ours, all of them: see tests/data/io/test_dicom_sign.py.
_MIN_PAIRS = 64  # fewer neighbours are letters, or a tiny image
_ALIKE = 1 / 8  # of the range: neighbours that differ by less are alike
_TIMES = 4  # so many pairs are alike with the other sign for one with the stated sign
_NEARER = 0.8  # how much nearer to the jump than the others the pixels beside it are
_NEARLY_ALL = 0.95  # of the pairs
_MIN_VALUES = 16  # fewer values are letters
_SCATTERED = 0.5  # pairs for each pixel of the smaller side: noise around 0
_MIN_SIGNED_BITS = 9  # two's complement of 8 bits told unsigned is not known from any device


@dataclass(frozen=True)
class Sign:
    """What is known of the sign of pixels.

    Attributes:
        signed: whether they are to be read as signed.
        is_other: this differs from what the file states.
        is_doubtful: the pixels contradict what the file states, but do not prove the other sign.
    """

    signed: bool
    is_other: bool = False
    is_doubtful: bool = False


def correct_sign(described: Pixels, stored: np.ndarray) -> np.ndarray:
    """Return pixels with the sign that they have; a note in `described` says where that differs.

    Args:
        described: of the file; `signed` is corrected.
        stored: (H, W) integers, read with the sign that the file states.
    """
    sign = find_sign(stored, described.bits_stored, described.signed, described.extremes)
    what = f"{name_of('PixelRepresentation')} {int(described.signed)}"
    jumps = "neighbouring pixels differ by almost the whole range"
    if sign.is_doubtful:
        described.notes.append(f"{what} may be wrong, since {jumps}; look at the image")
    if not sign.is_other:
        return stored
    kind = "signed" if sign.signed else "unsigned"
    described.notes.append(f"read as {kind} pixels, since by {what} {jumps}")
    described.signed = sign.signed
    values = with_sign(stored, described.bits_stored, sign.signed)
    if described.padding is not None:  # a word of 16 bits, whatever the pixels are
        word = stored.astype(np.int64) & 0xFFFF
        low, high = described.padding
        is_padding = (word >= low) & (word <= high)
        values[is_padding] = (word - (sign.signed and word >> 15 << 16))[is_padding]
    return values


def find_sign(
    stored: np.ndarray, bits: int, signed: bool, extremes: Sequence[int] | None = None
) -> Sign:
    """Return with which sign pixels are to be read.

    Args:
        stored: (H, W) integers, read with the sign that the file states.
        bits: Bits Stored.
        signed: whether Pixel Representation is 1.
        extremes: Smallest and Largest Image Pixel Value as unsigned words, or None.
    """
    told = Sign(signed)
    if bits < (8 if signed else _MIN_SIGNED_BITS):
        return told
    half = 1 << (bits - 1)
    # of both readings: whether a pixel is of the half that moves
    moves = stored < 0 if signed else stored >= half
    if not moves.any() or moves.all():
        return told
    if extremes is not None and _are_of_other(stored, bits, signed, extremes):
        return Sign(not signed, is_other=True)
    ends = (-half, -1, 0, half - 1) if signed else (0, half - 1, half, 2 * half - 1)
    used = ~np.isin(stored, ends)  # saturated pixels, letters and frames say nothing
    first, second = _pairs_across(stored, moves, used)
    steps = np.abs(first - second)
    unlike, alike = steps >= (1 - _ALIKE) * 2 * half, steps <= _ALIKE * 2 * half
    if unlike.sum() < max(_MIN_PAIRS, _TIMES * alike.sum()):
        return told
    sides = [_distance(stored[used & where], half, signed) for where in (moves, ~moves)]
    beside = [_distance(part, half, signed) for part in _by_side(first, second, half, signed)]
    if all(np.median(b) < _NEARER * np.median(s) for b, s in zip(beside, sides, strict=True)):
        return Sign(not signed, is_other=True)
    if unlike.mean() < _NEARLY_ALL or any(len(np.unique(side)) < _MIN_VALUES for side in sides):
        return told
    low, high = sorted(float(np.percentile(side, 95)) for side in sides)
    scattered = len(first) >= _SCATTERED * min(len(side) for side in sides)
    only_ends = high <= _ALIKE * 2 * half  # black and white alone, as stated
    if only_ends or (scattered and high >= _TIMES * low):
        return Sign(not signed, is_other=True)
    return Sign(signed, is_doubtful=True)


def with_sign(stored: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """Return pixels of the other sign as signed or unsigned ones.

    Args:
        stored: integers, read as signed where they are to be unsigned, and the reverse.
        bits: Bits Stored.
        signed: the sign that they are to have.
    """
    stored = stored.astype(np.int64)
    if signed:
        return np.where(stored >= 1 << (bits - 1), stored - (1 << bits), stored)
    return np.where(stored < 0, stored + (1 << bits), stored)


def _pairs_across(
    stored: np.ndarray, moves: np.ndarray, used: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of used neighbours of which one moves, in rows and in columns."""
    rows = (moves[:, 1:] != moves[:, :-1]) & used[:, 1:] & used[:, :-1]
    columns = (moves[1:] != moves[:-1]) & used[1:] & used[:-1]
    first = np.concatenate([stored[:, 1:][rows], stored[1:][columns]])
    second = np.concatenate([stored[:, :-1][rows], stored[:-1][columns]])
    return first.astype(np.int64), second.astype(np.int64)


def _by_side(
    first: np.ndarray, second: np.ndarray, half: int, signed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of pairs that move, and those that stay."""
    moving, staying = np.minimum(first, second), np.maximum(first, second)
    return (moving, staying) if signed else (staying, moving)


def _distance(values: np.ndarray, half: int, signed: bool) -> np.ndarray:
    """Return how far values are from the jump, which lies beside the ends of the range."""
    values = values.astype(np.int64)
    if signed:
        return np.where(values < 0, values + half, half - 1 - values)
    return np.where(values >= half, 2 * half - 1 - values, values)


def _are_of_other(stored: np.ndarray, bits: int, signed: bool, extremes: Sequence[int]) -> bool:
    """Return whether the stated extremes are those of the other sign, and not only its limits."""
    other = with_sign(stored, bits, not signed)
    limits = (0, (1 << bits) - 1) if signed else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    found = int(other.min()), int(other.max())
    return found != limits and tuple(value % (1 << 16) for value in extremes) == tuple(
        value % (1 << 16) for value in found
    )
