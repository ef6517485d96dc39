"""Processes that a run starts, looked up in /proc."""

import time
from pathlib import Path


def children(pid):
    """Return the numbers of the processes that a process started and that run still."""
    try:
        return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def wait_until_ended(pids):
    """Wait for processes that may be no children of this one, as when theirs was killed."""
    deadline = time.monotonic() + 600
    while running := [pid for pid in pids if _is_running(pid)]:
        assert time.monotonic() < deadline, f"processes run on: {running}"
        time.sleep(0.01)


def _is_running(pid):
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"
