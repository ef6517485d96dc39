"""Files and checkpoints are complete or absent; after a damaged one the one before it is used."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from dentalzoo import atomic
from dentalzoo.errors import DentalzooError
from dentalzoo.training import checkpoint


def arrays(epoch):
    return [np.full((3, 2), epoch, np.float32), np.array(epoch)]


def test_round_trip_keeps_the_last_two(tmp_path):
    kept = checkpoint.Checkpoints(tmp_path)
    assert kept.latest() is None
    for epoch in range(1, 12):
        kept.save(epoch, arrays(epoch), {"epoch": epoch, "best": 0.1})
    values, state = kept.latest()
    assert state == {"epoch": 11, "best": 0.1}
    assert np.array_equal(values[0], arrays(11)[0]) and values[1] == 11
    assert [path.name for path in kept.files()] == ["epoch-000010.npz", "epoch-000011.npz"]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, damage, caplog):
    kept = checkpoint.Checkpoints(tmp_path)
    for epoch in (1, 2):
        kept.save(epoch, arrays(epoch), {"epoch": epoch})
    last = kept.files()[-1]
    content = bytearray(last.read_bytes())
    at = content.index(arrays(2)[0].tobytes())
    content[at] ^= 1
    last.write_bytes({"flip": content, "cut": content[: at + 8], "empty": b""}[damage])
    assert kept.latest()[1] == {"epoch": 1}
    assert "epoch-000002.npz is corrupt or incomplete" in caplog.text


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    atomic.write_atomically(path, "old")

    def full(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(DentalzooError, match="a.txt could not be written.*No space left"):
        atomic.write_atomically(path, full)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_killed_while_saving(tmp_path):
    code = (
        "import sys, numpy as np\nfrom dentalzoo.training.checkpoint import Checkpoints\n"
        "kept, epoch = Checkpoints(sys.argv[1]), 0\n"
        "while True:\n"
        "    epoch += 1\n"
        "    kept.save(epoch, [np.full(300_000, epoch, np.float32)], {'epoch': epoch})\n"
    )
    rng = np.random.default_rng()
    for number in range(3):
        folder = tmp_path / str(number)
        child = subprocess.Popen([sys.executable, "-c", code, str(folder)])
        while not any(folder.glob("epoch-*")):
            assert child.poll() is None
            time.sleep(0.01)
        time.sleep(rng.uniform(0.05, 0.2))
        child.send_signal(signal.SIGKILL)
        child.wait()
        values, state = checkpoint.Checkpoints(folder).latest()
        assert np.all(values[0] == state["epoch"])


def test_every_flipped_bit_that_matters_is_detected(tmp_path):
    path = tmp_path / "epoch-000001.npz"
    checkpoint.save(path, arrays(1), {"epoch": 1})
    content, undetected = path.read_bytes(), 0
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            values, state = checkpoint.read(path)
        except DentalzooError:
            continue
        undetected += 1  # in a date, for example: the content is intact
        assert state == {"epoch": 1} and len(values) == 2
        assert all(np.array_equal(a, b) for a, b in zip(values, arrays(1), strict=True))
    assert undetected < 4 * len(content)


def test_when_every_checkpoint_is_damaged_nothing_starts_over(tmp_path):
    kept = checkpoint.Checkpoints(tmp_path)
    kept.save(1, arrays(1), {"epoch": 1})
    kept.files()[0].write_bytes(b"nothing")
    with pytest.raises(DentalzooError, match="every checkpoint in .* is corrupt or incomplete"):
        kept.latest()


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    (tmp_path / ".epoch-000001.npz.1.tmp").write_text("half")
    (tmp_path / ".bundle.1.tmp").mkdir()
    (tmp_path / "epoch-000001.npz").write_text("whole")
    atomic.remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["epoch-000001.npz"]
