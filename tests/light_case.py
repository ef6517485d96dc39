"""Commands in a process as the light install has it on Windows: no TensorFlow, nothing of POSIX."""

import json
import subprocess
import sys
from collections.abc import Sequence

# Runs the commands of its first argument, and ends with a list of their exit statuses.
_LIGHT = """
import json, os, signal, sys, types

for name in ("tensorflow", "keras", "tf_keras", "tf2onnx", "jax", "torch"):
    sys.modules[name] = None
import multiprocessing, numpy, subprocess  # which use what is hidden now, and not on Windows
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
sys.modules["msvcrt"] = types.SimpleNamespace(locking=lambda *_: None, LK_NBLCK=2)
for name in ("SIGKILL", "SIGALRM", "SIGHUP", "SIGUSR1", "SIGCHLD", "alarm", "setitimer"):
    delattr(signal, name)
for name in (
    *("fork", "forkpty", "wait", "killpg", "setsid", "uname", "statvfs", "mkfifo", "chown"),
    *("getuid", "geteuid", "getgid", "sched_getaffinity", "O_DIRECTORY", "O_NOFOLLOW"),
):
    delattr(os, name)

def no_proc(event, arguments):
    if event == "open" and str(arguments[0]).startswith("/proc"):
        raise FileNotFoundError(2, "no such file", arguments[0])

sys.addaudithook(no_proc)
from dentalzoo.cli import main

statuses = []
for command in json.loads(sys.argv[1]):
    try:
        statuses.append(main(command))
    except SystemExit as ended:
        statuses.append(ended.code or 0)
print(json.dumps(statuses))
"""


def run_light(*commands: Sequence[object]) -> tuple[list[int], str, str]:
    """Run commands one after the other; return their exit statuses, the output and the log."""
    given = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", _LIGHT, given], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    *output, statuses = done.stdout.splitlines()
    return json.loads(statuses), "\n".join(output), done.stderr
