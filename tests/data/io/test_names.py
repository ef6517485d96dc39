"""Names of files that are no plain ASCII: read, logged and printed, whatever they hold."""

import os
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from PIL import Image

from dentalzoo.data.io.file_warnings import forget_files
from dentalzoo.data.io.images import read_image, write_png
from dentalzoo.data.io.listing import list_images
from dentalzoo.errors import BadFile

NAMES = [
    unicodedata.normalize("NFC", "Müller é.png").encode(),
    unicodedata.normalize("NFD", "Müller é.png").encode(),
    "M\xfcller.png".encode("cp1252"),  # as unpacked from a ZIP file of Windows
    b"UPPER.PNG",
    b" with  spaces .JpEg",
    "日本.tif".encode(),
    b"new\nline.png",
    b"quote'\".png",
    b"-dash.png",
    b"%s%d.png",
]


@pytest.fixture
def folder(tmp_path):
    try:
        for name in NAMES:
            path = os.path.join(os.fsencode(tmp_path), name)
            with open(path, "wb") as stream:
                Image.fromarray(np.arange(1600, dtype=np.uint8).reshape(40, 40)).save(stream, "PNG")
    except OSError:
        pytest.skip("this file system does not take every name")
    return tmp_path


def test_every_name_is_listed_and_read(folder):
    paths = list_images(folder)
    assert sorted(os.fsencode(path.name) for path in paths) == sorted(NAMES)
    for path in paths:
        assert read_image(path).shape == (40, 40, 1)
        write_png(folder / "out" / path.name, read_image(path))
    assert sorted(os.fsencode(p.name) for p in (folder / "out").iterdir()) == sorted(NAMES)


def test_messages_about_every_name_can_be_printed(folder, caplog):
    forget_files()
    for name in NAMES:
        path = folder / os.fsdecode(name)
        Image.new("L", (40, 40)).save(folder / "black.png")
        os.replace(folder / "black.png", path)
        read_image(path)
        line = caplog.messages[-1]
        assert "nearly black" in line and "\n" not in line and line.encode("utf-8")
        path.write_bytes(b"damaged")
        with pytest.raises(BadFile) as error:
            read_image(path)
        assert "\n" not in str(error.value) and str(error.value).encode("utf-8")


def test_links_are_read_and_broken_ones_named(folder):
    (folder / "linked").symlink_to(folder)
    (folder / "link.png").symlink_to(folder / "UPPER.PNG")
    (folder / "broken.png").symlink_to(folder / "nothing.png")
    assert len(list_images(folder / "linked")) == len(NAMES) + 2
    assert np.array_equal(
        read_image(folder / "linked" / "link.png"), read_image(folder / "UPPER.PNG")
    )
    with pytest.raises(BadFile, match="a broken link"):
        read_image(folder / "broken.png")


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_a_command_prints_names_that_do_not_fit_into_the_encoding(folder, encoding):
    Image.new("L", (40, 40)).save(folder / "black.png")
    os.replace(folder / "black.png", os.path.join(os.fsencode(folder), NAMES[2]))
    command = [sys.executable, "-m", "dentalzoo", "check", "--images", str(folder)]
    result = subprocess.run(
        command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}
    )
    assert result.returncode == 1
    assert b"suspicious M\\udcfcller: nearly black" in result.stdout
    assert b"Traceback" not in result.stderr and b"UnicodeEncodeError" not in result.stderr
