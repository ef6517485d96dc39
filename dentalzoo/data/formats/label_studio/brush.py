"""Run lengths of Label Studio's brush: the RGBA values of an image, packed as bits.

32 bits count the values, 5 bits hold the size of a value less 1, four times 4 bits the sizes of a
length less 1. Then come blocks: a bit that is 1 where one value is repeated, 2 bits that choose the
size of the length, the length less 1, and the value, or as many values as the length says.
"""

from collections.abc import Iterable

import numpy as np

from dentalzoo.data.formats.shapes import Size, check_pixels

_LENGTH_BITS = (3, 4, 8, 16)
_VALUE_BITS = 8
_LONGEST = 1 << _LENGTH_BITS[-1]


def decode(rle: object, size: Size) -> np.ndarray:
    """Return the pixels (H, W) bool whose alpha is above 0.

    Args:
        rle: a list of bytes as numbers.
        size: (height, width) of the image.

    Raises:
        ValueError: it is no such list, or of another size.
    """
    check_pixels(size)
    if not isinstance(rle, list) or not all(isinstance(n, int) and 0 <= n < 256 for n in rle):
        raise ValueError("rle must be a list of bytes")
    bits = "".join(f"{n:08b}" for n in rle)
    count = 4 * size[0] * size[1]
    values, lengths = _blocks(bits, count)
    if sum(lengths) != count:
        shown = f"{sum(lengths):,} for {size[1]} x {size[0]} (width x height)"
        raise ValueError(f"rle must have four values for each pixel. Received: {shown}")
    rgba = np.repeat(np.array(values) > 0, lengths)
    return rgba[3::4].reshape(size)


def _blocks(bits: str, count: int) -> tuple[list[int], list[int]]:
    """Return the values and how often each is repeated, up to `count` in all."""
    position = 0

    def take(number: int) -> int:
        nonlocal position
        text = bits[position : position + number]
        if len(text) < number:
            raise ValueError("rle ends before its last value")
        position += number
        return int(text, 2)

    stated = take(32)
    if stated != count:
        raise ValueError(
            f"rle must have four values for each pixel, {count:,}. Received: {stated:,}"
        )
    value_bits = take(5) + 1
    length_bits = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    lengths: list[int] = []
    done = 0
    while done < count:
        repeated = take(1)
        length = take(length_bits[take(2)]) + 1
        done += length
        if repeated:
            values.append(take(value_bits))
            lengths.append(length)
        else:
            values += [take(value_bits) for _ in range(length)]
            lengths += [1] * length
    return values, lengths


def encode(inside: np.ndarray) -> list[int]:
    """Return the run lengths of the pixels (H, W) bool, with 255 in all four values of each."""
    flat = np.repeat(inside.ravel(), 4)
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    lengths = np.diff(ends, prepend=0).tolist()
    bits = [f"{flat.size:032b}", f"{_VALUE_BITS - 1:05b}"]
    bits += [f"{size - 1:04b}" for size in _LENGTH_BITS]
    for end, length in zip(ends.tolist(), lengths, strict=True):
        bits += _runs(length, 255 if flat[end - 1] else 0)
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def _runs(length: int, value: int) -> Iterable[str]:
    while length:
        part = min(length, _LONGEST)
        index = next(i for i, size in enumerate(_LENGTH_BITS) if part <= 1 << size)
        yield f"1{index:02b}{part - 1:0{_LENGTH_BITS[index]}b}{value:0{_VALUE_BITS}b}"
        length -= part
