"""A full disk ends export, predict, train and evaluate in one line, and nothing half is left."""

import json
import shutil
import subprocess
import sys

import pytest

# Run in a mount namespace of its own, where the disk is a small tmpfs. One process for all: most of
# the time is TensorFlow's.
CASES = """
import json, os, shutil, sys
from pathlib import Path
import dentalzoo as dz
from dentalzoo.bundle import Bundle, add_metrics, convert, reexport
from dentalzoo.bundle.metadata import read_metadata

run, data, disk = map(Path, sys.argv[1:])
bundle, seen = dz.load(run), []
shutil.copytree(run / "bundle", disk / "older")
at_older = Bundle(disk / "older", read_metadata(disk / "older"), {})

def older():
    return {str(p): p.read_bytes() for p in (disk / "older").rglob("*") if p.is_file()}

kept = older()
cases = {
    "export": lambda: reexport(run, disk / "new"),
    "export over": lambda: reexport(run, disk / "older"),
    "export --format": lambda: convert(run, disk / "new", "saved_model"),
    "save metrics": lambda: add_metrics(at_older, {"note": "x" * 15000}),
    "predict": lambda: dz.predict(bundle, data / "images", disk / "new", overlay=True),
    "evaluate": lambda: dz.evaluate(bundle, data, out=disk / "new"),
    "train": lambda: dz.train("panoramic_unet", data, disk / "new", "tiny"),
}
rooms = {0: cases, 10_000: ("predict", "train", "save metrics"), 100_000: ("export over",)}
for free, names in rooms.items():
    for name in names:
        shutil.rmtree(disk / "new", ignore_errors=True)
        (disk / "ballast").unlink(missing_ok=True)
        room = os.statvfs(disk)
        (disk / "ballast").write_bytes(bytes(room.f_bavail * room.f_frsize - free))
        try:
            cases[name]()
            error = "nothing"
        except dz.DentalzooError as caught:
            error = str(caught)
        except BaseException as caught:
            error = f"traceback: {caught!r}"
        left = sorted(str(p.relative_to(disk)) for p in disk.rglob("*") if p.is_file())
        left = [name for name in left if not name.startswith("older/")]
        seen.append([name, free, error, left, older() == kept])
Path(run, "seen.json").write_text(json.dumps(seen))
"""


@pytest.mark.slow
def test_a_full_disk(run, phantoms, tmp_path):
    disk, copy = tmp_path / "disk", shutil.copytree(run, tmp_path / "run")
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=3m none {disk}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    inside = [sys.executable, "-c", CASES, *map(str, (copy, phantoms, disk))]
    command = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", *inside]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads((copy / "seen.json").read_text())
    assert len(seen) == 11
    for name, free, error, left, intact in seen:
        about = (name, free, error, left)
        assert intact and "\n" not in error and "No space left on device" in error, about
        assert not [file for file in left if ".tmp" in file], about
        if name.startswith(("export", "save")):
            assert left == ["ballast"], about
