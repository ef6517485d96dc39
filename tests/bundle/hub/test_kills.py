"""Processes that are killed while they download: nothing or a whole bundle, and the rest is got."""

import functools
import random
import subprocess
import sys
import time

import pytest

from dentalzoo.bundle import integrity
from dentalzoo.bundle.hub import resolve
from tests.bundle.hub.conftest import content
from tests.bundle.hub.test_releases import packed

KILLS = 100
CODE = "import sys; from dentalzoo.bundle.hub import resolve; resolve(sys.argv[1])"


BUFFERED = 16_384  # bytes that the process has read and not yet written


def written(folder, size):
    """Wait until files of a folder hold so many bytes, which the process still writes."""
    deadline = time.monotonic() + 120
    while sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < size:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def appears(folder):
    """Wait until a bundle has its name in the cache."""
    deadline = time.monotonic() + 120
    while not bundles(folder):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def bundles(folder):
    """The bundles of a cache, without what is not yet one."""
    found = [path.parent for path in folder.rglob("metadata.json")]
    return [
        path for path in found if not path.name.endswith(".part") and ".unpacking" not in str(path)
    ]


def killed(server, address, budget):
    """Load an address in a process that the server kills after so many bytes."""
    server.armed.clear()
    server.budget = budget
    with subprocess.Popen([sys.executable, "-c", CODE, address], stderr=-1) as process:
        server.victim = process.pid
        server.armed.set()
        process.communicate(timeout=600)
    server.budget = None
    return process.returncode


@pytest.mark.slow
def test_killed_at_any_byte(server, files, tmp_path, monkeypatch):
    server.add("lab/unet", files)
    archive = server.archives["/unet.zip"] = packed(files, "zip")
    sizes = {
        "hf://lab/unet": sum(map(len, files.values())),
        f"{server.url}/unet.zip": len(archive),
    }
    chosen, counts = random.Random(0), {"nothing": 0, "whole": 0, "continued": 0}
    for number in range(KILLS):
        monkeypatch.setenv("DENTALZOO_CACHE", str(tmp_path / f"cache{number}"))
        address, size = list(sizes.items())[number % 2]
        # The last bytes are followed by the check, the unpacking and the renaming.
        budget = size if number % 10 < 2 else chosen.randint(1, size)
        folder = tmp_path / f"cache{number}"
        # Half of the processes have written what they were sent, the others perhaps not.
        least = budget - BUFFERED if number % 4 < 2 else 0
        server.before_kill = functools.partial(written, folder, least)
        if budget == size and number % 20 < 10:
            server.before_kill = functools.partial(appears, folder)
        ended = killed(server, address, budget)
        assert ended == -9 or (ended == 0 and budget == size), number
        whole = bundles(folder)
        for place in whole:
            integrity.verify(place)
            assert content(place) == files, number
        counts["whole" if whole else "nothing"] += 1
        before = len(server.requests)
        assert content(resolve(address)) == files, number
        again = server.requests[before:]
        counts["continued"] += any(where for _, _, where, _ in again) or not again
        left = [path.name for path in folder.rglob("*") if ".part" in path.name]
        assert left == [], number
        assert resolve(address, offline=True)
    print(f"{KILLS} kills: {counts}")
    assert counts["nothing"] + counts["whole"] == KILLS
    assert counts["continued"] >= KILLS // 5 and counts["whole"] >= KILLS // 20
