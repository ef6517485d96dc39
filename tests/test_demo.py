"""What `make demo` shows, with a stand-in for the released bundle and small films."""

import functools
import importlib.util
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

import dentalzoo as dz

SOURCE = Path(__file__).resolve().parents[1] / "examples" / "demo.py"
VOID = {"meta", "img", "br"}


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write_panoramic_dataset = functools.partial(
        module.write_panoramic_dataset, height=128, width=640
    )
    return module


class StandIn(dz.Bundle):
    """What is bright is a tooth."""

    def __init__(self):
        outputs = {"probabilities": {"shape": [None, None, None, 1]}}
        metadata = {
            **{"name": "panoramic_unet", "tag": "panoramic_teeth_v1", "task": "segmentation"},
            **{"summary": "U-Net & more", "signatures": {"serve": {"outputs": outputs}}},
        }
        super().__init__(Path("nowhere"), metadata, None)

    def serve(self, image):
        return {"mask": (image > 120).astype(np.uint8), "probabilities": np.float32(image / 255)}


@pytest.fixture(scope="module")
def page(demo, tmp_path_factory):
    """The folder of the demo, run twice: four films, then three."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dz, "load", lambda name: StandIn())
        for count in ("4", "3"):
            assert demo.main(["--out", str(folder), "--count", count]) == 0
    return folder


class Reader(HTMLParser):
    """The links, pictures, cells and open elements of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.pictures, self.words, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[key] for key in ("href", "src") if key in attributes]
        if tag == "img":
            self.pictures.append(attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())


def test_the_page_shows_three_pictures_per_film_and_all_are_there(page):
    reader = Reader((page / "index.html").read_text())
    assert reader.open == []
    assert len(reader.pictures) == 3 * 3  # the fourth film of the first run is not on it
    assert all(picture["alt"] for picture in reader.pictures)
    for link in reader.links:
        assert not re.match(r"\w+:|/", link), link
        assert (page / unquote(link)).is_file(), link


def test_the_page_needs_nothing_from_elsewhere_and_tells_no_path(page):
    text = (page / "index.html").read_text()
    assert "http" not in text and "url(" not in text and "<script" not in text
    assert str(page) not in text


def test_the_table_is_the_evaluation(page):
    report = json.loads((page / "panoramic_unet" / "evaluation.json").read_text())
    words = Reader((page / "index.html").read_text()).words
    assert report["images"] == 3
    for row in report["per_image"]:
        place = words.index(row["name"])
        assert words[place + 1 : place + 3] == [f"{row['dice']:.3f}", f"{row['iou']:.3f}"]
        assert int(words[place + 3]) >= 0  # ms
    place = words.index("mean")
    assert words[place + 1] == f"{report['mean']['dice']:.3f}"


def test_what_is_printed(demo, monkeypatch, tmp_path, capsys):
    picture = tmp_path / "a b.png"
    section = demo.Section(
        "A <title>",
        ["1 < 2"],
        [("film", "Dice"), ("a<b", "0.5")],
        [("One & only", [demo.Picture(picture, 'a "caption"')])],
    )
    monkeypatch.setattr(demo, "SECTIONS", [lambda folder, count: section])
    assert demo.main(["--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "A <title>"
    assert [line.split() for line in lines[2:4]] == [["film", "Dice"], ["a<b", "0.5"]]
    assert lines[-1] == f"The page: {tmp_path / 'index.html'}"
    text = (tmp_path / "index.html").read_text()
    for words in ("A &lt;title&gt;", "<td>a&lt;b<", "One &amp; only", "1 &lt; 2"):
        assert words in text
    assert Reader(text).pictures == [{"src": "a%20b.png", "alt": 'a "caption"'}]


def test_without_the_bundle_it_says_so_in_one_line(demo, monkeypatch, tmp_path, capsys):
    def load(name):
        raise dz.DentalzooError(f"no such bundle. Received: {name!r}")

    monkeypatch.setattr(dz, "load", load)
    assert demo.main(["--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    assert told.err == "demo: no such bundle. Received: 'panoramic_unet.panoramic_teeth_v1'\n"
    assert told.out == ""


@pytest.mark.parametrize("width", [500, 1400])
def test_a_browser_shows_every_picture_within_the_width_of_the_window(page, tmp_path, width):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine")
    probe = page / "probe.html"
    probe.write_text(
        (page / "index.html").read_text()
        + "<script>onload = () => document.title = 'widths ' + [innerWidth,"
        "document.documentElement.scrollWidth, ...[...document.images].map(i =>"
        " i.naturalWidth)].join(' ')</script>"
    )
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
    command += ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
    command += ["--disable-sync", f"--user-data-dir={tmp_path}", f"--window-size={width},900"]
    shown = subprocess.run(
        [*command, "--dump-dom", probe.as_uri()], capture_output=True, text=True, timeout=60
    )
    found = re.search(r"<title>widths ([\d ]+)</title>", shown.stdout)
    assert found, shown.stderr
    window, content, *pictures = map(int, found[1].split())
    assert window == width and content <= width
    assert pictures == [640] * 9
