"""The page of `make demo`, with stand-ins for the released bundles and small radiographs."""

import csv
import functools
import importlib.util
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.data.io.images import read_image, resize
from dentalzoo.data.synthetic import upper_jaw

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
    """A bundle without a network."""

    def __init__(self, name, tag, task, config=(), outputs=()):
        metadata = {
            **{"name": name, "tag": tag, "task": task, "config": dict(config)},
            **{"summary": f"{name} & more", "signatures": {"serve": {"outputs": dict(outputs)}}},
        }
        super().__init__(Path("nowhere"), metadata, None)


class BrightIsTooth(StandIn):
    def __init__(self):
        outputs = {"probabilities": {"shape": [None, None, None, 1]}}
        super().__init__("panoramic_unet", "panoramic_teeth_v2", "segmentation", (), outputs)

    def serve(self, image):
        return {"mask": (image > 120).astype(np.uint8), "probabilities": np.float32(image / 255)}


class BrightIsMetal(StandIn):
    """Each bright spot is a filling, with a score that grows with its size."""

    def __init__(self):
        config = {"classes": ["Fillings", "Implant"], "operating_threshold": 0.1}
        super().__init__("panoramic_detection", "dental_radiography_v4", "detection", config)

    def detect(self, image):
        _, _, spots, _ = cv2.connectedComponentsWithStats(np.uint8(image[..., 0] > 220))
        left, top, width, height, area = spots[1:].T
        boxes = np.stack([top, left, top + height, left + width], 1) / (2 * image.shape[:2])
        scores = np.float32(area / (50 + area))
        order = np.argsort(-scores, kind="stable")
        classes = np.ones(len(area), np.int32)
        return {"boxes": boxes[order], "scores": scores[order], "classes": classes,
                "num": len(area)}  # fmt: skip


class Coarse(StandIn):
    """An autoencoder whose code is the image at a quarter of its size."""

    def __init__(self, name, tag, task, side, channels):
        self.shape, self.code = (side, side, channels), (side // 4, side // 4, channels)
        sizes = {"input_size": [side, side], "latent_dim": int(np.prod(self.code))}
        likelihood = {"channels": channels, "likelihood": "gaussian", "sigma": 0.1}
        super().__init__(name, tag, task, sizes | likelihood)

    def encode(self, image):
        one = image.ndim == 3
        images = [resize(img, self.shape[:2]) for img in (image[None] if one else image)]
        seen = np.float32(images).reshape(-1, *self.shape) / 255
        high, wide, channels = self.code
        z = seen.reshape(-1, high, 4, wide, 4, channels).mean((2, 4)).reshape(len(seen), -1)
        code = {"z_mean": 4 * z - 2, "z_log_var": np.full_like(z, -4), "image": seen}
        return {key: values[0] for key, values in code.items()} if one else code

    def decode(self, z):
        small = np.clip(z.reshape(-1, *self.code) / 4 + 0.5, 0, 1)
        image = small.repeat(4, 1).repeat(4, 2)
        return {"image": image if z.ndim == 2 else image[0]}

    def generate(self, seed, n):
        rng = np.random.default_rng(int(seed))
        return self.decode(rng.standard_normal((n, np.prod(self.code)), dtype=np.float32))

    def overlay(self, images, weights):
        """Keep the background and lose every third source."""
        greys = np.float32(images) / 255
        defects = greys - np.median(greys, axis=(1, 2), keepdims=True)
        image = np.median(greys, axis=(1, 2)).mean() + defects[:2].min(0)
        return {"image": np.clip(image, 0, 1)}


class OneJawForAll(StandIn):
    """Every jaw is the synthetic jaw 0."""

    def __init__(self):
        config = {"image_size": 48, "num_points": 50_000}
        outputs = {"points": {}, "faces": {}}
        super().__init__("jaw_reconstruction", "drawn_scans_v3", "reconstruction", config, outputs)
        jaw = upper_jaw(0)
        middle = (jaw.vertices.min(0) + jaw.vertices.max(0)) / 2
        self.jaw = {"points": jaw.vertices - middle, "faces": jaw.faces}

    def serve(self, views):
        assert views.shape == (10, 48, 48, 1) and views.dtype == np.uint8
        return dict(self.jaw)


STAND_INS = {
    "jaw_reconstruction.drawn_scans_v3": OneJawForAll(),
    "panoramic_unet.panoramic_teeth_v2": BrightIsTooth(),
    "panoramic_detection.dental_radiography_v4": BrightIsMetal(),
    "tooth_vae.drawn_teeth_v2": Coarse("tooth_vae", "drawn_teeth_v2", "generation", 16, 3),
    "defect_overlay_vae.drawn_defects_v3": Coarse(
        "defect_overlay_vae", "drawn_defects_v3", "superimposition", 32, 1
    ),
}


@pytest.fixture(scope="module")
def page(demo, tmp_path_factory):
    """Return the folder of the demo, run twice: four radiographs, then three."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dz, "load", STAND_INS.__getitem__)
        for count in ("4", "3"):
            assert demo.main(["--out", str(folder), "--count", count]) == 0
    return folder


class Reader(HTMLParser):
    """The links, images, cells and open elements of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.images, self.cells, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[key] for key in ("href", "src") if key in attributes]
        if tag == "img":
            self.images.append(attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.cells.append(data.strip())


def test_all_images_of_the_page_exist(page):
    reader = Reader((page / "index.html").read_text())
    assert reader.open == []
    # Of radiographs, findings, teeth, superimposed images and jaws; without the fourth radiograph
    # of the first run.
    assert len(reader.images) == 3 * 3 + 3 * 2 + 4 + 3 + 2
    assert all(image["alt"] for image in reader.images)
    for link in reader.links:
        assert not re.match(r"\w+:|/", link), link
        assert (page / unquote(link)).is_file(), link
    assert sum(file.stat().st_size for file in page.rglob("*") if file.is_file()) < 40e6


def test_the_page_loads_nothing_from_the_network_and_contains_no_path(page):
    text = (page / "index.html").read_text()
    assert "http" not in text and "url(" not in text and "<script" not in text
    assert str(page) not in text


def test_the_table_is_the_evaluation(page):
    report = json.loads((page / "panoramic_unet" / "evaluation.json").read_text())
    cells = Reader((page / "index.html").read_text()).cells
    assert report["images"] == 3
    for row in report["per_image"]:
        at = cells.index(row["name"])
        assert cells[at + 1 : at + 3] == [f"{row['dice']:.3f}", f"{row['iou']:.3f}"]
        assert int(cells[at + 3]) >= 0  # ms
    at = cells.index("mean")
    assert cells[at + 1] == f"{report['mean']['dice']:.3f}"


def test_the_table_of_findings_counts_what_lies_in_a_box(page):
    cells = Reader((page / "index.html").read_text()).cells
    annotations = json.loads((page / "radiographs" / "annotations.coco.json").read_text())
    names = {category["id"]: category["name"] for category in annotations["categories"]}
    files = {image["id"]: image["file_name"] for image in annotations["images"]}
    with open(page / "panoramic_detection" / "detections.csv", newline="") as stream:
        boxes = [row for row in csv.DictReader(stream) if row["class"]]
    assert {row["class"] for row in boxes} == {"Fillings"}
    totals = {"restoration": [0, 0], "crown": [0, 0], "implant": [0, 0]}
    for image, name in files.items():
        own = [row for row in boxes if row["file"] == name]
        counts = {kind: [0, 0] for kind in totals}
        for annotation in annotations["annotations"]:
            kind = names[annotation["category_id"]]
            if annotation["image_id"] != image or kind not in totals:
                continue
            left, top, width, height = annotation["bbox"]
            x, y = left + width / 2, top + height / 2
            held = any(
                float(row["left"]) <= x <= float(row["right"])
                and float(row["top"]) <= y <= float(row["bottom"])
                for row in own
            )
            for count in (counts[kind], totals[kind]):
                count[0] += held and kind != "implant"
                count[1] += 1
        at = cells.index(name[:-4], cells.index("boxes"))
        shares = [f"{found} of {there}" for found, there in counts.values()]
        assert cells[at + 1 : at + 5] == [*shares, str(len(own))]
    assert totals["restoration"][0] > 0 and totals["implant"][1] > totals["implant"][0] == 0
    at = cells.index("all")
    assert cells[at + 1] == "{} of {}".format(*totals["restoration"])


def test_images_that_a_bundle_warns_of_are_named(demo, tmp_path):
    assert demo._unfamiliar(tmp_path) == []
    rows = [
        {"file": "a.png", "verdict": "familiar", "reasons": []},
        {"file": "b.png", "verdict": "foreign", "reasons": ["a colour image", "other layout"]},
    ]
    (tmp_path / "familiarity.json").write_text(json.dumps(rows))
    (text,) = demo._unfamiliar(tmp_path)
    assert "1 of 2 " in text and "b.png is foreign to it, by a colour image; other layout" in text
    (tmp_path / "familiarity.json").write_text(json.dumps(rows[:1]))
    assert demo._unfamiliar(tmp_path) == []


def test_the_numbers_of_new_teeth_are_the_evaluation(page):
    report = json.loads((page / "tooth_vae" / "evaluation.json").read_text())
    cells = Reader((page / "index.html").read_text()).cells
    assert report["images"] == 30 and report["generated"] == 30 and report["copying"] is None
    psnr, kid = f"{report['reconstruction']['psnr']:.1f}", f"{report['distance']['kid']:.3f}"
    assert cells[cells.index("PSNR of the reconstructions") + 1] == psnr
    assert cells[cells.index("KID, new teeth to photographs") + 1] == kid
    assert len(list((page / "tooth_vae" / "teeth" / "images").iterdir())) == 8 * 3


def test_the_table_of_superimposed_images_is_the_evaluation(page):
    report = json.loads((page / "defect_overlay_vae" / "evaluation.json").read_text())
    cells = Reader((page / "index.html").read_text()).cells
    sets = report["superimposition"]["per_set"]
    assert [len(row["sources"]) for row in sets] == [2, 3] * 3
    for row in sets:
        own = row["bundle"]
        at = cells.index(" + ".join(row["sources"]))
        assert cells[at + 1] == ", ".join(f"{part:.2f}" for part in own["recovered"])
        assert cells[at + 2] == f"{own['background_error']:.3f}"
        assert cells[at + 3] == ("yes" if own["success"] else "no")
    assert cells.count("yes") >= 1 and cells.count("no") >= 1
    successes = sum(row["bundle"]["success"] for row in sets)
    assert cells[cells.index("median") + 3] == f"{successes} of 6"


def test_the_table_of_jaws_is_the_evaluation(page):
    report = json.loads((page / "jaw_reconstruction" / "evaluation.json").read_text())
    assert report["jaws"] == 2  # of three radiographs, rounded up
    cells = Reader((page / "index.html").read_text()).cells
    start = cells.index("residual") + 1
    cells = [cell for cell in cells[start:] if cell][: 3 * 6]
    rows = [cells[i : i + 6] for i in range(0, len(cells), 6)]
    assert [row[0] for row in rows] == ["0000", "0001", "mean"]
    residuals = [*(jaw["residual"] for jaw in report["per_jaw"]), report["confidence"]["mean"]]
    parts = zip(rows, [*report["per_jaw"], report], residuals, strict=True)
    for row, measured, residual in parts:
        scores = measured.get("scores") or measured["mean"]
        assert row[1] == f"{scores['at'][0]['precision']:.3f}"
        assert row[3] == f"{scores['pred_to_gt']['mean']:.2f}"
        assert row[5] == f"{residual:.1f}"
        assert float(row[5]) > report["confidence"]["bound"]  # another jaw than the views'


def test_a_superimposed_image_is_shown_beside_its_outlined_sources(page):
    folder = page / "defect_overlay_vae"
    pair, triple = (read_image(folder / f"superimposed_{number:02d}.png") for number in (0, 1))
    assert (pair.shape[1] + 4) * 4 == (triple.shape[1] + 4) * 3  # panels of one size, and seams
    side = pair.shape[0]
    for start, coloured in ((0, True), (side + 4, True), (2 * (side + 4), False)):
        panel = np.int16(pair[:, start : start + side])
        assert panel.shape[1] == side
        assert (np.ptp(panel, axis=-1).max() > 60) == coloured


def test_no_bundle_was_trained_on_the_photographs_of_the_page(demo, page):
    from dentalzoo.data.synthetic import tooth_photo

    first = tooth_photo(900_000).image
    np.testing.assert_array_equal(read_image(page / "photos" / "0000.png"), first)
    rows = (page / "photos" / "split.csv").read_text().splitlines()
    assert rows[1] == "0000,test" and len(rows) == 1 + 30


def test_what_is_printed_and_escaped(demo, monkeypatch, tmp_path, capsys):
    image = tmp_path / "a b.png"
    section = demo.Section(
        "A <title>",
        ["1 < 2"],
        [("radiograph", "Dice"), ("a<b", "0.5")],
        [("One & only", [demo.Figure(image, 'a "caption"')])],
    )
    monkeypatch.setattr(demo, "SECTIONS", [lambda folder, count: section])
    assert demo.main(["--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "A <title>"
    assert [line.split() for line in lines[2:4]] == [["radiograph", "Dice"], ["a<b", "0.5"]]
    assert lines[-1] == f"The page: {tmp_path / 'index.html'}"
    text = (tmp_path / "index.html").read_text()
    for part in ("A &lt;title&gt;", "<td>a&lt;b<", "One &amp; only", "1 &lt; 2"):
        assert part in text
    assert Reader(text).images == [{"src": "a%20b.png", "alt": 'a "caption"'}]


def test_a_missing_bundle_is_reported_in_one_line(demo, monkeypatch, tmp_path, capsys):
    def load(name):
        raise dz.DentalzooError(f"no such bundle. Received: {name!r}")

    monkeypatch.setattr(dz, "load", load)
    assert demo.main(["--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert printed.err == "demo: no such bundle. Received: 'panoramic_unet.panoramic_teeth_v2'\n"
    assert printed.out == ""


@pytest.mark.parametrize("width", [500, 1400])
def test_a_browser_shows_every_image_within_the_width_of_the_window(page, tmp_path, width):
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
        [*command, "--dump-dom", probe.as_uri()], capture_output=True, text=True, timeout=600
    )
    widths = re.search(r"<title>widths ([\d ]+)</title>", shown.stdout)
    assert widths, shown.stderr
    window, content, *images = map(int, widths[1].split())
    assert window == width and content <= width
    assert images[:9] == [640] * 9 and min(images) > 0
