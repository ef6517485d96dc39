"""A thousand synthetic radiographs by two workers that are killed half-way and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.data.io.images import read_image, write_png
from tests.archives.processes import children, wait_until_ended

COUNT = 1_000
_GROWTH = 8 << 20  # bytes; measured at most 0.7 MB in each of the three processes
# A worker's first image takes 13 MB for good, and under load it may come long after the other's.
_WARM = 30  # writes of a process, which makes two or three for each image


@pytest.fixture(scope="module")
def thousand(phantoms, tmp_path_factory):
    """Small images, all different: parts of the phantoms with their number in a corner."""
    folder = tmp_path_factory.mktemp("thousand") / "in"
    sources = [read_image(path) for path in sorted((phantoms / "images").iterdir())]
    for number in range(COUNT):
        image = np.roll(sources[number % len(sources)], number, axis=1)[:64, :128].copy()
        image[:2, :16, 0] = 255 * np.unpackbits(np.array([number], ">u2").view(np.uint8))
        write_png(folder / f"{number:04d}.png", image)
    return folder


def resident_and_writes(pid):
    """Bytes of memory of a process and how often it has written; zeros where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        counts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE"), int(counts["syscw"])
    except (OSError, LookupError):
        return 0, 0


class Watched:
    """`dentalzoo predict` in a process of its own, whose memory is sampled at each tenth line."""

    def __init__(self, bundle, inputs, out):
        command = [sys.executable, "-m", "dentalzoo", "predict", str(bundle.path), str(inputs)]
        command += ["--out", str(out), "--workers", "2", "--overlay"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.path = out / "manifest" / "shard-00000-of-00001.jsonl"
        self.workers: set[int] = set()
        self.memory: list[tuple[int, dict[int, tuple[int, int]]]] = []

    def lines(self):
        return self.path.read_bytes().count(b"\n") if self.path.exists() else 0

    def until(self, count):
        """Wait for a number of lines, or for the end."""
        while self.lines() < count and self.process.poll() is None:
            self.workers |= {*children(self.process.pid)}
            pids = (self.process.pid, *self.workers)
            self.memory.append((self.lines(), {pid: resident_and_writes(pid) for pid in pids}))
            time.sleep(0.05)

    def growth(self, first):
        """The largest growth of each process from line `first` on, once it is warm, in bytes."""
        series = {}
        for lines, sizes in self.memory:
            for pid, (size, writes) in sizes.items():
                if lines >= first and writes >= _WARM:
                    series.setdefault(pid, []).append(size)
        return {pid: max(sizes) - sizes[0] for pid, sizes in series.items()}


@pytest.mark.slow
def test_two_workers_killed_half_way_and_started_again(bundle, thousand, tmp_path, capsys):
    out = tmp_path / "out"
    run = Watched(bundle, thousand, out)
    run.until(200)
    os.kill(min(run.workers), signal.SIGKILL)  # one worker: the rest goes on
    run.until(500)
    os.kill(run.process.pid, signal.SIGKILL)
    run.process.communicate()
    wait_until_ended(run.workers)  # with what they have
    content = run.path.read_bytes()
    finished = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    assert 500 <= len(finished) < COUNT
    times = {line["name"]: (out / f"{line['name']}.png").stat().st_mtime_ns for line in finished}

    again = Watched(bundle, thousand, out)
    again.until(COUNT)
    assert again.process.communicate()[0] == f"{COUNT} written to {out}, 0 failed\n"
    assert again.process.returncode == 0
    lines = [json.loads(line) for line in again.path.read_bytes().splitlines()]
    assert sorted(line["number"] for line in lines) == [*range(1, COUNT + 1)]  # none twice
    for name, written in times.items():
        assert (out / f"{name}.png").stat().st_mtime_ns == written  # not done again

    dz.predict(bundle, thousand, tmp_path / "plain", overlay=True)
    expected = {p.name: p.read_bytes() for p in (tmp_path / "plain").glob("[!.]*.png")}
    overlays = {content for name, content in expected.items() if "overlay" in name}
    assert len(expected) == 2 * COUNT and len(overlays) == COUNT  # no two are the same
    assert {p.name: p.read_bytes() for p in out.glob("[!.]*.png")} == expected

    rest = (COUNT - len(finished)) // 2
    growth = again.growth(COUNT - rest)
    with capsys.disabled():
        shown = ", ".join(f"{size / 1e6:.1f}" for size in growth.values())
        print(f"\nMB of growth over {rest} images, each process: {shown}")
    assert again.process.pid in growth and len(growth) > 1  # one worker has half of the images
    assert max(growth.values()) < _GROWTH
