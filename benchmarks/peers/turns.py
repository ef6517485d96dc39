"""Worker processes that take turns, environments for them, and tables of their times.

Only the standard library is used: a peer's environment has no dentalzoo.
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
    """Make a folder with a Python environment, once.

    Args:
        folder: the folder of the environment.
        whose: its purpose, for messages.
        last: a file in it that shows that it is complete; created if the commands do not.
        commands: arguments of its Python that complete it.
        variables: additional environment variables of these commands.

    Returns:
        The folder; None, after one line with the reason, if it cannot be made.
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
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        print(f"{whose} is left out, since its environment could not be created: {reason}\n")
        return None
    seconds = time.perf_counter() - start
    print(f"The environment of {whose} was created in {seconds:.0f} s: {folder}\n")
    return folder


def pip(*arguments: str) -> list[str]:
    """Return the arguments of Python that run pip."""
    return ["-m", "pip", "--quiet", "--no-input", "--retries", "1", *arguments]


def python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _variables() -> dict[str, str]:
    """Return the environment of this process, with the folder of `peers` in PYTHONPATH."""
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(_BENCHMARKS), *([before] if before else [])])
    return {**os.environ, "PYTHONPATH": path}


class Worker:
    """A process that calls a function on request."""

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
        """Request calls; return the elapsed seconds and the processor seconds of each."""
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        return self.read()

    def end(self) -> float:
        """End the process and return its peak memory in bytes."""
        self._process.stdin.close()
        peak = self.read()
        self._process.wait()
        return peak


def answer(call, facts: dict) -> None:
    """Print `facts`; then for each line read the seconds of some calls, at the end the peak memory.

    The seconds of a call are elapsed and processor seconds. The first call of a turn does not
    count: another process had the caches before it.
    """
    call()
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        print(json.dumps([timed(call) for _ in range(1 + int(line))][1:]), flush=True)
    # Not ru_maxrss: a child process starts with its parent's.
    status = Path("/proc/self/status")
    peak = status.read_text().split("VmHWM:")[1].split()[0] if status.is_file() else "nan"
    print(json.dumps(float(peak) * 1024), flush=True)


def timed(call) -> tuple[float, float]:
    """Return the elapsed seconds and the processor seconds of a call."""
    start, used = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - used


def figures(*values: float) -> list[str]:
    return [f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" for value in values]


def show(title: str, heads: list[str], rows: list[list]) -> None:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    print(f"{title}\n", *(f"| {' | '.join(map(str, line))} |" for line in lines), "", sep="\n")
