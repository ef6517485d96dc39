"""What a run over an archive has done: its settings, and a line for each finished input.

The folder of a run, `OUT/manifest/`, holds

- `run.json`: bundle, options, shards and inputs of the run, which no later call may change;
- `shard-00000-of-00004.jsonl` for each shard: a line of JSON for each finished input, written after
  its files; the keys are those of `Line`. One process at a time has it open for writing;
- `combined.json`: the tables and projects that were written, with a digest of the shards;
- `failed.csv`: inputs without a result, written with the tables.

Results with anonymous names have their manifest beside them, in `OUT_manifest/`: it names inputs.
"""

import csv
import errno
import hashlib
import io
import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from dentalzoo.atomic import stamp, write_atomically, write_json
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.locks import lock
from dentalzoo.tasks.predictor import Item

FORMAT = 1
_RUN, _COMBINED, _FAILED, _LOCK = "run.json", "combined.json", "failed.csv", "lock"
_MISSING = (1 << 64) - 1
_OTHER = "continue with the same command, or choose another folder"
DONE, FAILED, AGAIN = "done", "failed", "again"


def manifest_folder(out: Path, anonymize: bool) -> Path:
    """Return the folder of the manifest of a run that writes to `out`."""
    out = out.resolve()  # "." has no name
    return out.with_name(f"{out.name}_manifest") if anonymize else out / "manifest"


def refuse_run(out: Path) -> None:
    """Raise DentalzooError where `out` holds a run over an archive."""
    for anonymize in (False, True):
        folder = manifest_folder(out, anonymize)
        if (folder / _RUN).is_file():
            raise DentalzooError(
                "out must not hold a run over an archive; give workers or shards as before, or "
                f"choose another folder. Received: {out}, see {folder}"
            )


# ---- the settings of a run -----------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What must be the same in every call of a run.

    Attributes:
        dentalzoo: version.
        bundle: name.
        bundle_sha256: of the bundle's list of sums.
        runtime: what computes it.
        options: of `predict`, as plain values.
        shards: number of shards.
    """

    dentalzoo: str
    bundle: str
    bundle_sha256: str
    runtime: str
    options: Mapping[str, Any]
    shards: int

    def compare(self, out: Path, known: Mapping[str, Any]) -> None:
        """Compare with a run that is there.

        Raises:
            DentalzooError: they differ.
        """
        pairs = {key: (known.get(key), value) for key, value in vars(self).items()}
        before, now = pairs.pop("options")
        before = before or {}
        pairs |= {key: (before.get(key), now.get(key)) for key in {*before, *now}}
        for key, (old, new) in sorted(pairs.items()):
            if json.dumps(old) != json.dumps(new):
                raise DentalzooError(
                    f"{key} must be {old!r}, as in the run that {out} holds; {_OTHER}. "
                    f"Received: {new!r}"
                )


def read_run(folder: Path) -> dict[str, Any] | None:
    """Return the content of run.json; None where there is no run.

    Raises:
        BadFile: it cannot be read.
    """
    path = folder / _RUN
    try:
        known = dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise BadFile(path, f"must be that of a run. Received: {error}") from error
    if known.get("format") != FORMAT:
        raise BadFile(path, f"format must be {FORMAT}. Received: {known.get('format')!r}")
    return known


def claim_run(
    folder: Path, out: Path, settings: Settings, items: Sequence[Item], shared: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Begin a run or take part in it; return what its processes share.

    Args:
        folder: of the manifest; it is made.
        out: of the results, for messages.
        settings: of this call.
        items: all inputs.
        shared: of this call's plan; that of the call which began the run counts.

    Raises:
        DentalzooError: a run with other settings or inputs is there, or nothing can be written.
    """
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.name}\0{item.file}\n".encode(errors="surrogateescape"))
    inputs = {"inputs": len(items), "inputs_sha256": digest.hexdigest()}
    with locked(folder):
        known = read_run(folder)
        if known is None:
            known = {"format": FORMAT, **vars(settings), **inputs, "shared": dict(shared)}
            write_json(folder / _RUN, known)
            return shared
        settings.compare(out, known)
        if any(known.get(key) != value for key, value in inputs.items()):
            raise DentalzooError(
                f"inputs must be the {known['inputs']:,} of the run that {out} holds; "
                f"{_OTHER}. Received: {len(items):,}, not the same"
            )
        return dict(known["shared"])


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time in, on every machine that shares the folder.

    Raises:
        DentalzooError: the file system has no locks, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = open(folder / _LOCK, "ab")  # noqa: SIM115  # closed below
        lock(stream)
    except OSError as error:
        raise _cannot_lock(folder, error) from error
    with stream:
        yield


def _cannot_lock(path: Path, error: OSError) -> DentalzooError:
    hint = ""
    if error.errno in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
        hint = " and be on a file system with locks (Lustre: mount -o flock)"
    return DentalzooError(f"{path} must be writable{hint}. Received: {error.strerror}")


# ---- the lines of a shard ------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """An input that is finished.

    Attributes:
        number: of the input, from 1.
        input: its file, below the folder that holds all inputs.
        name: of its results, without suffix.
        status: "done", "failed", or "again" for one that has to be done again, since its file has
            changed or its results are gone.
        files: name -> bytes of each file written.
        reason: why it failed; "" where it is done.
        problems: [file, reason] of parts that could not be made of an input that is done.
        seconds: that it took.
        size, time_ns: of the input's file, its size in bytes and modification time, to detect
            changes; None where it has none.
        record: what tables and projects need of it, see `dentalzoo.tasks.predictor.Result`.
    """

    number: int
    input: str
    name: str
    status: str
    files: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    problems: Sequence[Sequence[str]] = ()
    seconds: float = 0.0
    size: int | None = None
    time_ns: int | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    def is_whole(self, item: Item, out: Path) -> bool:
        """Return whether the input is as it was, and its files are there with their sizes."""
        if (self.name, *stamp(item.path)[1:]) != (item.name, self.size, self.time_ns):
            return False
        return all(stamp(out / name)[1] == size for name, size in self.files.items())


class ShardManifest:
    """The lines of one shard. Use it as a context manager to add lines, one process at a time.

    Args:
        folder: of the manifest.
        shard, shards: index of the shard, from 0, and their number.
        inputs: number of the inputs of the whole run.
    """

    def __init__(self, folder: Path, shard: int, shards: int, inputs: int) -> None:
        self.path = folder / f"shard-{shard:05d}-of-{shards:05d}.jsonl"
        self._shard, self._shards, self._inputs = shard, shards, inputs
        self._stream: BinaryIO | None = None

    @property
    def numbers(self) -> range:
        """The numbers of the shard's inputs: every `shards`-th one."""
        return range(self._shard + 1, self._inputs + 1, self._shards)

    def __enter__(self) -> "ShardManifest":
        try:
            stream = open(self.path, "ab")  # noqa: SIM115  # closed on exit
            try:
                lock(stream, wait=False)
            except OSError:
                stream.close()
                raise
        except BlockingIOError as error:
            raise DentalzooError(
                f"shard {self._shard} of {self._shards} must be processed by one process; wait for "
                f"the other or stop it. Received: {self.path} is locked"
            ) from error
        except OSError as error:
            raise _cannot_lock(self.path, error) from error
        stream.truncate(
            max((end for end, _ in self._lines()), default=0)
        )  # of a line that a kill has cut off
        self._stream = stream
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream:
            self._stream.close()
            self._stream = None

    def add(self, line: Line) -> None:
        """Add a line, in one write.

        Raises:
            DentalzooError: it cannot be written.
        """
        assert self._stream is not None, "lines are added inside the `with`"
        text = json.dumps(vars(line), separators=(",", ":")) + "\n"
        try:
            self._stream.write(text.encode())
            self._stream.flush()
        except OSError as error:
            raise DentalzooError(
                f"{self.path} could not be written; free disk space and start again. "
                f"Received: {error.strerror}"
            ) from error

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield (offset behind it, content) of each line without one that a kill has cut off."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as stream:
            end = 0
            for content in stream:
                if not content.endswith(b"\n"):
                    return
                end += len(content)
                yield end, content

    def index(self) -> tuple["array[int]", str]:
        """Return the offset of the last line of each input of the shard, and a digest of all lines.

        The offset of an unfinished input is 2**64 - 1.

        Raises:
            BadFile: a line is not of this manifest.
        """
        offsets = array("Q", [_MISSING]) * len(self.numbers)
        digest, start = hashlib.sha256(), 0
        for end, content in self._lines():
            digest.update(content)
            line = self._parsed(content)
            known = _MISSING if line.status == AGAIN else start
            offsets[self.numbers.index(line.number)] = known
            start = end
        return offsets, digest.hexdigest()

    def at(self, offsets: "array[int]") -> Iterator[Line]:
        """Yield the lines at offsets of `index`, without those that are missing."""
        if all(offset == _MISSING for offset in offsets):
            return
        with open(self.path, "rb") as stream:
            for offset in offsets:
                if offset != _MISSING:
                    stream.seek(offset)
                    yield self._parsed(stream.readline())

    def _parsed(self, content: bytes) -> Line:
        try:
            line = Line(**json.loads(content))
            if line.number not in self.numbers or line.status not in (DONE, FAILED, AGAIN):
                raise ValueError(f"number {line.number}, status {line.status}")
        except (ValueError, TypeError) as error:
            raise BadFile(
                self.path, f"must hold lines of this run; remove the others. Received: {error}"
            ) from error
        return line


# ---- all shards ----------------------------------------------------------------------------------


class Archive:
    """The lines of all shards, in the order of the inputs.

    Args:
        folder: of the manifest.
        shards: number of shards.
        items: all inputs.
    """

    def __init__(self, folder: Path, shards: int, items: Sequence[Item]) -> None:
        self._folder, self._items = folder, items
        self._shards = [ShardManifest(folder, i, shards, len(items)) for i in range(shards)]
        indices = [shard.index() for shard in self._shards]
        self._offsets = [offsets for offsets, _ in indices]
        self._digest = hashlib.sha256("".join(digest for _, digest in indices).encode()).hexdigest()

    @property
    def missing(self) -> list[int]:
        """The number of unfinished inputs of each shard."""
        return [offsets.count(_MISSING) for offsets in self._offsets]

    def is_combined(self, out: Path) -> bool:
        """Return whether tables and projects were written from exactly these lines, and exist."""
        try:
            known = json.loads((self._folder / _COMBINED).read_bytes())
        except (OSError, ValueError):
            return False
        if known["sha256"] != self._digest:
            return False
        return all((out / name).exists() for name in known["written"])

    def lines(self) -> Iterator[tuple[Item, Line]]:
        """Yield each input with its line, in order; memory does not grow with what they hold."""
        streams = [
            shard.at(offsets) for shard, offsets in zip(self._shards, self._offsets, strict=True)
        ]
        for item in self._items:
            yield item, next(streams[(item.number - 1) % len(streams)])

    def write_failed(self) -> None:
        """Write failed.csv: the inputs without a result, and parts that could not be made."""

        def write(file: BinaryIO) -> None:
            text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="")
            rows = csv.writer(text, lineterminator="\n")
            rows.writerow(("input", "reason"))
            for _, line in self.lines():
                if line.status == FAILED:
                    rows.writerow((line.input, line.reason))
                rows.writerows((line.input, reason) for _, reason in line.problems)
            text.flush()
            text.detach()

        write_atomically(self._folder / _FAILED, write)

    def set_combined(self, out: Path, written: Sequence[Path]) -> None:
        """Note the tables and projects that were written from these lines, below `out`."""
        places = [path.resolve().relative_to(out.resolve()).as_posix() for path in written]
        write_json(self._folder / _COMBINED, {"sha256": self._digest, "written": places})
