"""Decoded samples, read and checked once: in memory, or in a folder that survives an interruption.

Every file is decoded before the first step: a bad one is named then, not hours into a training, and
later epochs read small uint8 arrays from memory or from one file.
"""

import hashlib
import json
import logging
import os
import time
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from dentalzoo.data.io.file_warnings import warn_of_file
from dentalzoo.data.io.grey_levels import nothing_to_see
from dentalzoo.data.pipeline.prefetch import read_ahead
from dentalzoo.errors import BadFile, DentalzooError

_log = logging.getLogger("dentalzoo")
_SAVE_SECONDS = 60
_RULES = 2  # raise it when files are decoded to other pixels: what was cached before is read again


class Cache:
    """Decoded samples, all of one shape: a dict of arrays (N, ...), in memory or on disk.

    Args:
        names: a name per sample, for messages.
        load: index -> dict of arrays; raises BadFile for a sample that cannot be used.
        folder: where to keep the arrays (one `.npy` per key, mapped into memory), or None for
            memory. A folder of the same `cache_key` is used as it is; one whose reading was
            interrupted is resumed, from where it was a minute before.
        cache_key: what the content depends on (files, sizes, times, settings).
        strict: raise for the first bad sample instead of skipping it.

    Attributes:
        arrays: key -> array (N, ...) of the N samples that could be read.
        names: their names.
        skipped: (name, reason) of the others.
        suspicious: (name, reason) of those whose "image" shows nothing. Reading the file logs that;
            a folder that was read before logs it again.

    Raises:
        DentalzooError: no sample could be read, or the first bad one if `strict`.
    """

    def __init__(
        self,
        names: Sequence[str],
        load: Callable[[int], dict[str, np.ndarray]],
        folder: str | Path | None = None,
        cache_key: object = None,
        strict: bool = False,
    ) -> None:
        self.names: list[str] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.skipped: list[tuple[str, str]] = []
        self.suspicious: list[tuple[str, str]] = []
        self._folder = None if folder is None else Path(folder)
        digest = hashlib.sha256(repr((_RULES, list(names), cache_key)).encode()).hexdigest()
        done = 0 if self._folder is None else self._reopen(self._folder, digest, len(names))
        kept, saved = len(self.names), time.monotonic()
        samples = read_ahead(lambda index: _read(load, names, index), range(done, len(names)))
        for index, sample in tqdm(samples, "reading", len(names), initial=done, disable=None):
            if self._folder is not None and kept and time.monotonic() > saved + _SAVE_SECONDS:
                self._publish(self._folder, digest, index)
                saved = time.monotonic()
            if isinstance(sample, DentalzooError):
                if strict or not isinstance(sample, BadFile):
                    raise sample
                self.skipped.append((names[index], sample.reason))
                _log.warning("skipped %s", sample)
                continue
            if not self.arrays:
                self.arrays = {
                    key: self._allocate(key, (len(names), *value.shape), value.dtype)
                    for key, value in sample.items()
                }
            for key, value in sample.items():
                self.arrays[key][kept] = value
            self.names.append(names[index])
            if reason := _nothing_to_see(sample):
                self.suspicious.append((names[index], reason))
            kept += 1
        if not kept:
            raise DentalzooError(
                f"at least 1 sample must be readable: no sample could be read. "
                f"Received: {len(names)} samples, {len(self.skipped)} of them bad"
            )
        if self._folder is not None and done < len(names):
            self._publish(self._folder, digest, len(names))
        self.arrays = {key: array[:kept] for key, array in self.arrays.items()}

    def __len__(self) -> int:
        return len(self.names)

    def _allocate(self, key: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        if self._folder is None:
            try:
                return np.empty(shape, dtype)
            except MemoryError:
                raise DentalzooError(
                    "the decoded samples must fit into memory, or a folder must be given to keep "
                    f"them (cache=DIR, --cache DIR). Received: {shape[0]} of shape {shape[1:]}"
                ) from None
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "cache.json").unlink(missing_ok=True)
        return np.lib.format.open_memmap(self._folder / f"{key}.npy", "w+", dtype, shape)

    def _publish(self, folder: Path, digest: str, done: int) -> None:
        """Declare the first `done` samples read: cache.json is replaced atomically, after them."""
        for array in self.arrays.values():
            typing.cast(np.memmap, array).flush()
        content = {
            "key": digest,
            "done": done,
            "names": self.names,
            "skipped": self.skipped,
            "suspicious": self.suspicious,
            "arrays": list(self.arrays),
        }
        temporary = folder / "cache.json.tmp"
        temporary.write_text(json.dumps(content))
        os.replace(temporary, folder / "cache.json")

    def _reopen(self, folder: Path, digest: str, count: int) -> int:
        """Take over what the folder holds of these `count` samples; return how many were read."""
        try:
            content = json.loads((folder / "cache.json").read_text())
            if content["key"] != digest:
                return 0
            names, skipped = content["names"], [tuple(pair) for pair in content["skipped"]]
            mode: Literal["r", "r+"] = "r" if content["done"] == count else "r+"
            self.arrays = {
                name: np.load(folder / f"{name}.npy", mmap_mode=mode) for name in content["arrays"]
            }
            self.suspicious = [tuple(pair) for pair in content["suspicious"]]
            self.names, self.skipped = names, skipped
        except (OSError, ValueError, KeyError):
            return 0
        for name, reason in self.skipped:
            _log.warning("skipped %s: %s", name, reason)
        for name, reason in self.suspicious:
            warn_of_file(Path(name), reason)
        return int(content["done"])


def _read(
    load: Callable[[int], dict[str, np.ndarray]], names: Sequence[str], index: int
) -> dict[str, np.ndarray]:
    try:
        return load(index)
    except OSError as error:
        raise BadFile(names[index], f"it cannot be read. Received: {error}") from error


def _nothing_to_see(sample: dict[str, np.ndarray]) -> str:
    image = sample.get("image")
    if image is None or image.dtype != np.uint8 or image.ndim != 3:
        return ""
    return nothing_to_see(image)
