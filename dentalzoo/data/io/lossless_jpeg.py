"""Lossless JPEG, ITU-T T.81 annex H, as dental devices write it into DICOM files.

Written here because the decoders that exist are either under the GPL, or end the process when a
file is damaged. NumPy computes for every bit at which one next code would begin, if a code began
there; following those from the first bit on is the only step that goes pixel by pixel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

_SOI, _EOI, _SOS, _DHT, _DRI, _LOSSLESS = 0xD8, 0xD9, 0xDA, 0xC4, 0xDD, 0xC3
_OTHER_FRAMES = {*range(0xC0, 0xD0)} - {_DHT, 0xC8, 0xCC, _LOSSLESS}
_CHUNK = 1 << 16  # bytes whose bits are looked at at once
_MAX_LEFT = 64  # ours: bits of padding at the end; more are those of another size, or of damage
_NO_CODE = 200  # bits to go on where no code begins: ends the search soon


@dataclass
class _Table:
    """A Huffman table, by the next 16 bits: the length of the code, and its symbol.

    The symbol is the number of the bits that follow, of the difference; 16 has none.
    """

    lengths: np.ndarray = field(default_factory=lambda: np.zeros(1 << 16, np.uint8))
    symbols: np.ndarray = field(default_factory=lambda: np.zeros(1 << 16, np.uint8))

    @property
    def steps(self) -> np.ndarray:
        steps = self.lengths + np.where(self.symbols < 16, self.symbols, 0)
        return np.where(self.lengths > 0, steps, _NO_CODE).astype(np.uint8)


@dataclass
class _Frame:
    bits: int = 0
    rows: int = 0
    columns: int = 0
    components: list[int] = field(default_factory=list)
    tables: dict[int, _Table] = field(default_factory=dict)
    interval: int = 0


def decode_lossless_jpeg(content: bytes, rows: int, columns: int, bands: int) -> np.ndarray:
    """Decode a lossless JPEG image of one scan with Huffman codes.

    Args:
        content: the file.
        rows: the height that it must have.
        columns: the width that it must have.
        bands: the components that it must have.

    Returns:
        (rows, columns, bands) uint16.

    Raises:
        ValueError: it is damaged, of another size or of another kind.
    """
    frame, scan, start = _read_header(content)
    if (frame.rows, frame.columns, len(frame.components)) != (rows, columns, bands):
        raise ValueError("the size differs")
    if len(scan) != 2 * bands + 4 or scan[0] != bands:
        raise ValueError("several scans")
    tables = [frame.tables[scan[2 + 2 * band] >> 4] for band in range(bands)]
    predictor, shift = scan[-3], scan[-1] & 15
    if not 1 <= predictor <= 7 or shift >= frame.bits or frame.interval % columns:
        raise ValueError("no lossless scan")
    rows_each = frame.interval // columns or rows
    image = np.empty((rows, columns, bands), np.uint16)
    first = 0
    for segment in _segments(content, start):
        if first >= rows:
            break
        number = min(rows_each, rows - first)
        found = _differences(segment, tables, number * columns * bands)
        found = found.reshape(number, columns, bands)
        for band in range(bands):
            initial = 1 << (frame.bits - shift - 1)
            values = _predicted(found[..., band], predictor, initial) << shift
            image[first : first + number, :, band] = values
        first += number
    if first < rows:
        raise ValueError("truncated")
    return image


def _read_header(content: bytes) -> tuple[_Frame, bytes, int]:
    """Return the frame, the header of the scan, and where the coded data begins."""
    if content[:2] != bytes([255, _SOI]):
        raise ValueError("no JPEG")
    frame, position = _Frame(), 2
    while position + 4 <= len(content):
        if content[position] != 255:
            raise ValueError("no marker")
        marker = content[position + 1]
        if marker == 255:  # a fill byte
            position += 1
            continue
        length = int.from_bytes(content[position + 2 : position + 4])
        part = content[position + 4 : position + 2 + length]
        if length < 2 or len(part) != length - 2:
            raise ValueError("truncated")
        position += 2 + length
        if marker == _SOS:
            if not frame.components:
                raise ValueError("no frame")
            return frame, part, position
        if marker in _OTHER_FRAMES:
            raise ValueError("not lossless")
        if marker == _LOSSLESS:
            _read_frame(frame, part)
        elif marker == _DHT:
            _read_tables(frame, part)
        elif marker == _DRI:
            frame.interval = int.from_bytes(part)
    raise ValueError("no scan")


def _read_frame(frame: _Frame, part: bytes) -> None:
    if len(part) < 9 or len(part) != 6 + 3 * part[5] or not 2 <= part[0] <= 16:
        raise ValueError("no frame")
    frame.bits, frame.components = part[0], list(part[6::3])
    frame.rows, frame.columns = int.from_bytes(part[1:3]), int.from_bytes(part[3:5])
    if len(frame.components) > 1 and set(part[7::3]) != {0x11}:
        raise ValueError("components of several sizes")


def _read_tables(frame: _Frame, part: bytes) -> None:
    while part:
        counts, table, code, used = part[1:17], _Table(), 0, 0
        symbols = part[17 : 17 + sum(counts)]
        if len(counts) != 16 or len(symbols) != sum(counts) or max(symbols, default=99) > 16:
            raise ValueError("no Huffman table")
        for length, count in enumerate(counts, 1):
            for symbol in symbols[used : used + count]:
                begin, end = code << (16 - length), (code + 1) << (16 - length)
                if end > 1 << 16:
                    raise ValueError("no Huffman table")
                table.lengths[begin:end], table.symbols[begin:end] = length, symbol
                code += 1
            used += count
            code <<= 1
        frame.tables[part[0] & 15] = table
        part = part[17 + used :]


def _segments(content: bytes, start: int) -> Iterator[np.ndarray]:
    """Yield the coded bytes between restart markers, without stuffed zeros."""
    data = np.frombuffer(content, np.uint8)[start:]
    marks = np.flatnonzero(data[:-1] == 255)
    kinds = data[marks + 1]
    restart = (kinds & 0xF8) == 0xD0
    ends = marks[(kinds != 0) & (kinds != 255) & ~restart]
    last = int(ends[0]) if len(ends) else len(data)
    stuffed = marks[kinds == 0] + 1
    begin = 0
    for end in (*marks[restart & (marks < last)].tolist(), last):
        drop = stuffed[(stuffed >= begin) & (stuffed < end)] - begin
        yield np.delete(data[begin:end], drop)
        begin = end + 2


def _differences(data: np.ndarray, tables: Sequence[_Table], number: int) -> np.ndarray:
    """Decode `number` differences, (number,) int32, whose bands take turns with the tables."""
    if 8 * len(data) < number:
        raise ValueError("truncated")
    bits = 8 * len(data)
    data = np.concatenate([data, np.full(8, 255, np.uint8)]).astype(np.uint32)
    found, position, band, bands = [np.zeros(0, np.int32)], 0, 0, len(tables)
    left = number
    for begin in range(0, len(data) - 8, _CHUNK):
        part = data[begin : begin + _CHUNK + 8].astype(np.uint64)
        count = min(_CHUNK, len(part) - 8)
        words = part[:count] << 16 | part[1 : count + 1] << 8 | part[2 : count + 2]
        shifts = np.arange(8, 0, -1, dtype=np.uint64)
        windows = ((words[:, None] >> shifts) & 0xFFFF).astype(np.uint16).reshape(-1)
        same = all(table is tables[0] for table in tables)
        steps = [table.steps[windows].tobytes() for table in (tables[:1] if same else tables)]
        offset = 8 * begin
        taken, position, band = _follow(steps, position - offset, 8 * count, left, band)
        position += offset
        starts = np.array(taken, np.int64)
        turn = (number - left + np.arange(len(taken))) % bands
        values = np.empty(len(taken), np.int64)
        for index, table in enumerate(tables):
            mine = turn == index
            values[mine] = _values(part, windows, starts[mine], table)
        found.append(values.astype(np.int32))
        left -= len(taken)
        if not left:
            break
    if left or position > bits:
        raise ValueError("truncated")
    if bits - position > _MAX_LEFT:
        raise ValueError("more data than pixels")
    return np.concatenate(found)


def _follow(
    steps: Sequence[bytes], position: int, end: int, number: int, band: int
) -> tuple[list[int], int, int]:
    """Return where up to `number` codes begin below `end`, the next position, and its band.

    The band is right unless `number` codes were found, which ends the search.
    """
    taken: list[int] = []
    append = taken.append
    if len(steps) == 1:
        step = steps[0]
        while position < end:
            append(position)
            position += step[position]
    else:
        while position < end:
            append(position)
            position += steps[band][position]
            band = band + 1 if band + 1 < len(steps) else 0
    if len(taken) > number:
        position = taken[number]
        del taken[number:]
    return taken, position, band


def _values(part: np.ndarray, windows: np.ndarray, starts: np.ndarray, table: _Table) -> np.ndarray:
    """Return the differences whose codes begin at the bits `starts`, T.81 H.1.2.2."""
    window = windows[starts]
    lengths, sizes = table.lengths[window].astype(np.int64), table.symbols[window].astype(np.int64)
    if not lengths.all():
        raise ValueError("no code")
    at = starts >> 3
    word = (
        part[at] << 32 | part[at + 1] << 24 | part[at + 2] << 16 | part[at + 3] << 8 | part[at + 4]
    )
    word = (word.astype(np.int64) >> (8 - (starts & 7))) & 0xFFFFFFFF
    extra = sizes % 16
    bits = (word >> (32 - lengths - extra)) & ((1 << extra) - 1)
    negative = bits < (1 << extra) >> 1
    return np.where(sizes == 16, 32768, np.where(negative, bits - (1 << extra) + 1, bits))


def _predicted(found: np.ndarray, predictor: int, initial: int) -> np.ndarray:
    """Add differences (rows, columns) to their predictions, T.81 table H.1, modulo 65536."""
    image = np.empty(found.shape, np.int32)
    image[0] = (np.cumsum(found[0]) + initial) & 0xFFFF
    image[:, 0] = (image[0, 0] + np.cumsum(np.append(0, found[1:, 0]))) & 0xFFFF
    for row in range(1, len(image)):
        left, above, corner = image[row, 0], image[row - 1, 1:], image[row - 1, :-1]
        added = found[row, 1:]
        if predictor == 1:
            image[row, 1:] = (left + np.cumsum(added)) & 0xFFFF
        elif predictor == 2:
            image[row, 1:] = above + added
        elif predictor == 3:
            image[row, 1:] = corner + added
        elif predictor in (4, 5):  # these add to the left pixel what does not depend on it
            slope = above - corner if predictor == 4 else (above - corner) >> 1
            image[row, 1:] = (left + np.cumsum(slope + added)) & 0xFFFF
        else:
            image[row, 1:] = _one_by_one(predictor, int(left), above, corner, added)
        image[row] &= 0xFFFF
    return image


def _one_by_one(
    predictor: int, left: int, above: np.ndarray, corner: np.ndarray, added: np.ndarray
) -> list[int]:
    row = []
    for b, c, d in zip(above.tolist(), corner.tolist(), added.tolist(), strict=True):
        predicted = b + ((left - c) >> 1) if predictor == 6 else (left + b) >> 1
        left = (predicted + d) & 0xFFFF
        row.append(left)
    return row
