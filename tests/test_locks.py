"""Locks keep other processes out, here and with the calls that Windows has."""

import subprocess
import sys

import pytest

from dentalzoo.locks import lock

# Locks a file, says so, and holds it until its input ends. On "windows" there is no fcntl, and
# msvcrt locks bytes from the place in the file on, as there.
HOLDER = """
import sys, types
if sys.argv[2] == "windows":
    import fcntl
    def locking(handle, mode, count):
        import os
        assert (mode, count) == (2, 1)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, count, os.lseek(handle, 0, 1))
        except BlockingIOError as error:
            raise PermissionError(13, "Permission denied") from error
    sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
    sys.modules["fcntl"] = None
from dentalzoo.locks import lock
with open(sys.argv[1], "a") as file:
    try:
        lock(file, wait=sys.argv[3] == "wait")
    except BlockingIOError:
        print("busy", flush=True)
        raise SystemExit
    file.write("x")
    file.flush()
    print("held", flush=True)
    sys.stdin.read()
"""


def start(path, system, wait=""):
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, path, system, wait],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("system", ["here", "windows"])
def test_a_lock_keeps_other_processes_out_until_its_own_ends(tmp_path, system):
    path = tmp_path / "file"
    with start(path, system) as holder:
        assert holder.stdout.readline() == "held\n"
        with start(path, system) as second:
            assert second.communicate()[0] == "busy\n"
        assert path.read_text() == "x"  # which a lock on these bytes would not allow on Windows
        with start(path, system, "wait") as waiting:
            holder.kill()
            assert waiting.stdout.readline() == "held\n"
            waiting.communicate()
    assert path.read_text() == "xx"


def test_a_lock_is_exclusive_within_a_process_too(tmp_path):
    with (tmp_path / "file").open("a") as one, (tmp_path / "file").open("a") as other:
        lock(one)
        with pytest.raises(BlockingIOError):
            lock(other, wait=False)
