"""A folder is replaced as a whole, wherever its process is killed."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from dentalzoo import atomic, locks
from dentalzoo.bundle import hub, replacing
from dentalzoo.bundle.integrity import sums
from dentalzoo.errors import DentalzooError
from tests.zoo_case import RELEASED


@pytest.fixture(params=["one step", "two steps"])
def in_one_step(request, monkeypatch):
    if request.param == "two steps":
        monkeypatch.setattr(replacing, "_exchange", lambda new, old: False)
    return request.param == "one step"


def make(path, text):
    with replacing.replaced(path) as aside:
        aside.mkdir()
        (aside / "metadata.json").write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_old_folder_is_replaced_and_nothing_is_left(tmp_path, in_one_step):
    for text in ("old", "new"):
        make(tmp_path / "x", text)
        assert (tmp_path / "x" / "metadata.json").read_text() == text and names(tmp_path) == ["x"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_folder(tmp_path, in_one_step, error):
    make(tmp_path / "x", "old")
    with pytest.raises((DentalzooError, KeyboardInterrupt)), replacing.replaced(tmp_path / "x"):
        raise error
    assert (tmp_path / "x" / "metadata.json").read_text() == "old" and names(tmp_path) == ["x"]


def test_a_failing_rename_brings_the_old_folder_back(tmp_path, monkeypatch):
    make(tmp_path / "x", "old")
    monkeypatch.setattr(replacing, "_exchange", lambda new, old: False)
    rename, calls = os.replace, []

    def replace(old, new):
        calls.append(old)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        rename(old, new)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(DentalzooError, match=r"x could not be written. Received: \[Errno 5\]"):
        make(tmp_path / "x", "new")
    assert (tmp_path / "x" / "metadata.json").read_text() == "old" and names(tmp_path) == ["x"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a call of Linux")
def test_linux_exchanges_in_one_step(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    if not replacing._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("not on this file system")
    assert (names(tmp_path / "a"), names(tmp_path / "b")) == (["b"], ["a"])
    with pytest.raises(OSError, match="No such file"):
        replacing._exchange(tmp_path / "a", tmp_path / "absent")


# A child dies at each step in turn: at each call of the system that Python audits.
KILLS = """
import os, signal, sys
from pathlib import Path
from dentalzoo.bundle import hub, replacing

folder, two_steps = Path(sys.argv[1]), sys.argv[2] == "two"
if two_steps:
    replacing._exchange = lambda new, old: False
path = folder / "x"

def make(text):
    with replacing.replaced(path) as aside:
        aside.mkdir()
        for name in ("a", "b", "metadata.json"):
            (aside / name).write_text(text)

def content():
    return {file.name: file.read_text() for file in path.iterdir()}

def full(text):
    return {name: text for name in ("a", "b", "metadata.json")}

make("old")
step, absent = 0, 0
while True:
    step += 1
    child = os.fork()
    if child == 0:
        left = step
        def die(event, arguments):
            global left
            if event.startswith(("os.", "open", "shutil.", "ctypes.", "fcntl.")):
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(die)
        make("new")
        os._exit(0)
    done = os.waitpid(child, 0)[1] == 0
    absent += not path.exists()
    assert hub.resolve(path) == path, step
    assert content() in (full("old"), full("new")), (step, content())
    make("old")
    assert [p.name for p in folder.iterdir()] == ["x"], (step, list(folder.iterdir()))
    if done:
        break
print(step, absent)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
@pytest.mark.parametrize("steps", ["one", "two"])
def test_a_kill_at_any_step_leaves_the_old_or_the_new_folder(tmp_path, steps):
    command = [sys.executable, "-c", KILLS, str(tmp_path), steps]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kills, absent = map(int, done.stdout.split())
    assert kills > 15
    # Between two renames there is neither, until the next load brings the old one back.
    assert absent == (1 if steps == "two" else 0) or (steps == "one" and not exchanges(tmp_path))


# Forks children that save metrics into a bundle, and kills each after a random time.
RANDOM_KILLS = """
import os, random, signal, sys, time
from pathlib import Path
from dentalzoo.bundle import Bundle, add_metrics, hub, integrity
from dentalzoo.bundle.metadata import read_metadata

path, kills = Path(sys.argv[1]), 0
stream = random.Random(0)

def save(number):
    add_metrics(Bundle(path, read_metadata(path), {}), {"number": number})

save(0)  # which also imports what it needs
start = time.perf_counter()
save(0)
longest = time.perf_counter() - start
number = 0
while kills < 100:
    number += 1
    before = read_metadata(path)["metrics"]["number"]
    child = os.fork()
    if child == 0:
        save(number)
        os._exit(0)
    time.sleep(stream.uniform(0, 2 * longest))
    os.kill(child, signal.SIGKILL)
    kills += os.waitpid(child, 0)[1] != 0
    assert hub.resolve(path) == path
    integrity.verify(path)
    assert read_metadata(path)["metrics"]["number"] in (before, number), number
save(0)
assert [p.name for p in path.parent.iterdir()] == [path.name], list(path.parent.iterdir())
print(kills, "kills,", number - kills, "finished before")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
def test_a_hundred_kills_at_random_moments_leave_a_whole_bundle(tmp_path):
    path = tmp_path / "folder" / "own"
    shutil.copytree(RELEASED / "panoramic_unet.panoramic_teeth_v2", path)
    metadata = json.loads((path / "metadata.json").read_text()) | {"tag": None}
    (path / "metadata.json").write_text(json.dumps(metadata))
    (path / "SHA256SUMS").write_text(sums(path))
    command = [sys.executable, "-c", RANDOM_KILLS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("100 kills"), done.stdout
    print(done.stdout)


def exchanges(folder):
    """Whether the file system can exchange two folders."""
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    return replacing._exchange(folder / "a", folder / "b")


def test_a_folder_that_a_living_process_replaces_is_left_alone(tmp_path):
    with replacing.replaced(tmp_path / "x") as aside:
        (tmp_path / ".x.1.old").mkdir()
        make(tmp_path / "x", "of another")
        assert aside.parent.is_dir() and (tmp_path / "x" / "metadata.json").exists()
        aside.mkdir()
    assert names(tmp_path) == [".x.1.old", "x"]


def test_an_older_version_s_leftovers_are_removed_and_others_kept(tmp_path):
    for name in (".x.123.tmp", ".y.123.tmp", ".x.notes.tmp", ".xx.1.tmp"):
        (tmp_path / name).mkdir()
    make(tmp_path / "x", "new")
    assert names(tmp_path) == [".x.notes.tmp", ".xx.1.tmp", ".y.123.tmp", "x"]


def test_the_newest_old_folder_comes_back(tmp_path):
    for number, time in ((1, 200), (2, 300), (3, 100)):
        (tmp_path / f".x.{number}.old").mkdir()
        (tmp_path / f".x.{number}.old" / "metadata.json").write_text(str(number))
        os.utime(tmp_path / f".x.{number}.old", (time, time))
    assert hub.resolve(tmp_path / "x") == tmp_path / "x"
    assert (tmp_path / "x" / "metadata.json").read_text() == "2"


# ---- single files --------------------------------------------------------------------------------


def test_files_of_killed_processes_are_removed_and_those_of_living_ones_kept(tmp_path):
    code = """
import os, sys
from dentalzoo.atomic import write_atomically
write_atomically(sys.argv[1], lambda file: os.kill(os.getpid(), 9), durable=False)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "mask.png")])
    (left,) = names(tmp_path)
    assert left.startswith(".mask.png.") and left.endswith(".tmp")
    (tmp_path / ".notes.tmp").write_text("not ours")

    def write(file):
        atomic.remove_abandoned(tmp_path)
        file.write(b"new")

    atomic.write_atomically(tmp_path / "other.png", write)
    assert names(tmp_path) == [".notes.tmp", "other.png"]
    assert (tmp_path / "other.png").read_bytes() == b"new"


def test_predict_removes_what_a_killed_one_left(tmp_path):
    from dentalzoo.tasks.predictor import Plan, predict_all

    (tmp_path / ".mask.png.999.abcdef.tmp").write_text("half")

    class Nothing:
        title, unit = "nothing", "image"
        plan = staticmethod(lambda inputs, out: Plan([]))
        read = apply = None
        combine = staticmethod(lambda records, out: [])

    predict_all(Nothing(), [], tmp_path)
    assert names(tmp_path) == []


def test_a_file_system_without_locks_is_written_to_and_nothing_is_removed(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(atomic, "lock", fail)
    monkeypatch.setattr(locks.fcntl, "flock", fail)
    (tmp_path / ".mask.png.999.abcdef.tmp").write_text("half")
    atomic.write_atomically(tmp_path / "x", b"1")
    atomic.remove_abandoned(tmp_path)
    make(tmp_path / "folder", "new")
    assert names(tmp_path) == [".mask.png.999.abcdef.tmp", "folder", "x"]
