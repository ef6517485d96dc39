"""Processes that call something in turn, environments for them, and the tables of what they took.

Nothing but the standard library: a peer's environment has no dentalzoo.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

_BENCHMARKS = Path(__file__).resolve().parents[1]


def environment(
    folder: Path,
    whose: str,
    last: str,
    commands: list[list],
    variables: dict[str, str] | None = None,
) -> Path | None:
    """A folder with an environment, made once.

    Args:
        folder: where it is, or will be.
        whose: what it is for, for what is printed.
        last: a file there that tells that it is whole; made where the commands do not.
        commands: arguments of its Python that make it.
        variables: what they find in their environment, too.

    Returns:
        The folder; None, after one line that says why, where it cannot be made.
    """
    if (folder / last).is_file():
        return folder
    start = time.perf_counter()
    try:
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        for command in commands:
            options = {"check": True, "capture_output": True, "text": True, "timeout": 600}
            seen = {**_variables(), **(variables or {})}
            subprocess.run([python_of(folder), *command], cwd=folder, env=seen, **options)
        (folder / last).touch()
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        print(f"Nothing is compared with {whose}, whose environment cannot be made: {said}\n")
        return None
    print(f"The environment of {whose} was made in {time.perf_counter() - start:.0f} s: {folder}\n")
    return folder


def pip(*words: str) -> list[str]:
    """Arguments of Python for pip."""
    return ["-m", "pip", "--quiet", "--no-input", "--retries", "1", *words]


def python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _variables() -> dict[str, str]:
    """Those of this process, and the folder that `peers` is in."""
    found = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(_BENCHMARKS), *([found] if found else [])])
    return {**os.environ, "PYTHONPATH": path}


class Worker:
    """A process that calls something when it is told to."""

    def __init__(self, command: list):
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            list(map(str, command)),
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            text=True,
            env=_variables(),
        )

    def read(self):
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a process ended early: {' '.join(self._process.args)}")
        return json.loads(line)

    def turn(self, calls: int) -> list[tuple[float, float]]:
        """The seconds of some calls, and those of processors."""
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        return self.read()

    def end(self) -> float:
        """Ends it; its peak memory in bytes."""
        self._process.stdin.close()
        peak = self.read()
        self._process.wait()
        return peak


def answer(call, facts: dict) -> None:
    """Prints `facts`; then at each line read the seconds of some calls, at the end the peak memory.

    A call has the seconds that pass and those that processors work. The first call of a turn is
    not counted: another process had the caches before it.
    """
    call()
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        print(json.dumps([timed(call) for _ in range(1 + int(line))][1:]), flush=True)
    # Not ru_maxrss: a child process starts with its parent's.
    status = Path("/proc/self/status")
    found = status.read_text().split("VmHWM:")[1].split()[0] if status.is_file() else "nan"
    print(json.dumps(float(found) * 1024), flush=True)


def timed(call) -> tuple[float, float]:
    """The seconds of a call that pass, and those that processors work."""
    start, used = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - used


def figures(*values: float) -> list[str]:
    return [f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" for value in values]


def show(title: str, heads: list[str], rows: list[list]) -> None:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    print(f"{title}\n", *(f"| {' | '.join(map(str, line))} |" for line in lines), "", sep="\n")
