"""The web page in a browser: its results are those of `dentalzoo predict`, and it asks for nothing.

All tests share one built page; they need Chromium.
"""

import base64
import fcntl
import functools
import http.server
import io
import json
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import cKDTree

import dentalzoo as dz
from dentalzoo.data.io.images import read_image, write_png
from dentalzoo.data.synthetic import panoramic
from tests.data.io.dicom_files import table

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out" / "page"
MEGABYTES = 25
BROWSERS = ("chromium", "google-chrome", "chromium-browser", "google-chrome-stable")
UNET = "panoramic_unet.panoramic_teeth_v2"
DETECTORS = ("panoramic_detection.dental_radiography_v4", "panoramic_detection.dentex_fdi_v2")
REFUSED = {  # of `write_many`
    *("beyond.dcm", "cut.dcm", "frames.dcm", "no_sign.dcm", "rows.dcm", "unknown_function.dcm"),
    "turned.png",
}
PATIENCE = 240_000  # milliseconds, of a machine that does much else


@pytest.fixture(scope="module")
def built():
    """The folder of the page, built where it is missing or older than its sources."""
    (ROOT / "out").mkdir(exist_ok=True)
    with (ROOT / "out" / "page.lock").open("w") as lock:  # workers share it
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run([ROOT / "tools" / "page.sh"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return OUT


class Handler(http.server.SimpleHTTPRequestHandler):
    """A plain web server that notes what it is asked for."""

    asked: list[str] = []

    def log_message(self, *args):
        self.asked.append(self.path)


@pytest.fixture(scope="module")
def address(built):
    handler = functools.partial(Handler, directory=built)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="the extra dev is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: install one of {', '.join(BROWSERS)}")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(PATIENCE)
    context.problems = []
    yield context
    context.close()


@pytest.fixture(scope="module")
def page(context, address):
    """The page after its first result, with everything that it needs to work offline."""
    page = context.new_page()
    page.on("pageerror", lambda error: context.problems.append(str(error)))
    page.on("console", lambda m: m.type == "error" and context.problems.append(m.text))
    page.goto(address)
    page.locator("#radiograph[data-done]").wait_for()
    page.locator("html[data-offline]").wait_for(state="attached")
    return page


@pytest.fixture(scope="module")
def radiograph():
    return panoramic(11, 420, 900).image[..., None]


def upload(page, path):
    page.locator("#radiograph [data-file]").set_input_files(path)
    page.locator(f'#radiograph[data-done="{path.name}"]').wait_for()


def wait_for_teeth(page):
    page.get_by_text("Teeth outlined in").wait_for()


def saved(page, selector):
    with page.expect_download() as download:
        page.locator(selector).click()
    return Path(download.value.path()).read_bytes(), download.value.suggested_filename


def dicom(path, values, *, bits=12, items=None, **elements):
    """Write values (H, W) or (H, W, 3) as a DICOM file, 16 bits each where `bits` is above 8."""
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    allocated = 16 if bits > 8 else 8
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 1 if values.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if values.ndim == 2 else "RGB"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, bits, bits - 1
    dataset.PixelRepresentation = int(values.min() < 0)
    syntax = elements.pop("syntax", pydicom.uid.ExplicitVRLittleEndian)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    for keyword, item in (items or {}).items():
        setattr(dataset, keyword, pydicom.Sequence([item]))
    order = ">" if syntax == pydicom.uid.ExplicitVRBigEndian else "<"
    dataset.PixelData = values.astype(
        f"{order}{'i' if allocated > 8 else 'u'}{allocated // 8}"
    ).tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)


def write_dicom(path, grey):
    """Write a radiograph as MONOCHROME1 of 12 bits with a window and a rescale."""
    values = 3900 - (grey[..., 0].astype(int) * 13 + np.arange(grey.shape[1]) % 13)
    window = {"WindowCenter": "1001.5", "WindowWidth": "3000"}
    rescale = {"RescaleSlope": "1", "RescaleIntercept": "-1024"}
    dicom(path, values, PhotometricInterpretation="MONOCHROME1", **window, **rescale)


def write_jpeg_dicom(path, grey):
    """Write a radiograph of 8 bits as baseline JPEG."""
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    dicom(path, grey[..., 0].astype(int), bits=8)
    stream = io.BytesIO()
    Image.fromarray(grey[..., 0]).save(stream, "JPEG", quality=92)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = pydicom.encaps.encapsulate([stream.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    dataset.save_as(path, enforce_file_format=True)


def test_the_page_is_small_and_strict(built):
    size = sum(path.stat().st_size for path in built.rglob("*") if path.is_file())
    assert size < MEGABYTES * 1e6
    text = (built / "index.html").read_text(encoding="utf-8")
    assert "script-src 'self' 'wasm-unsafe-eval';" in text and "default-src 'none'" in text
    assert "unsafe-inline" not in text and "://" not in text
    assert "Not a medical device, not for diagnosis" in text


def write_many(folder, grey):
    """Write files of all kinds of depths, windows, tables and colours, some of them damaged."""
    small = grey[::4, ::4, 0].astype(int)
    deep = small * 16 + np.arange(small.shape[1]) % 16
    curve = np.linspace(0, 4095, 4096) ** 1.2
    table_12 = table((curve * 4095 / curve.max()).astype(int).tolist(), 12)
    table_8 = table((np.arange(256) ** 2 // 255).tolist(), 8)
    presented = table((np.arange(4096) // 16).tolist(), 8)
    padded = deep.copy()
    padded[:20] = 63536
    colours = np.stack([small, 255 - small, small // 2], -1)
    one = {"WindowCenter": "2000", "WindowWidth": "3000"}
    two = {"WindowCenter": ["90000", "1900.5"], "WindowWidth": ["10", "2500"]}
    hot = deep.copy()
    hot[7, 7] = 60000
    files = {
        "plain": (deep, {}),
        "8bit": (small, {"bits": 8}),
        "inverted": (deep, {"PhotometricInterpretation": "MONOCHROME1"}),
        "window": (deep, one),
        "exact": (deep, {**one, "VOILUTFunction": "LINEAR_EXACT"}),
        "sigmoid": (deep, {**one, "VOILUTFunction": "SIGMOID"}),
        "unknown_function": (deep, {**one, "VOILUTFunction": "CUBIC"}),
        "second_window": (deep, two),
        "narrow": (deep, {"WindowCenter": "2000", "WindowWidth": "1"}),
        "rescaled": (deep, {**one, "RescaleSlope": "0.5", "RescaleIntercept": "-100"}),
        "flat_slope": (deep, {**one, "RescaleSlope": "0", "RescaleIntercept": "5"}),
        "signed": (deep - 2048, {"WindowCenter": "0", "WindowWidth": "3500"}),
        "signed_16": (deep * 4 - 9000, {"bits": 16}),
        "voi": (deep, {"items": {"VOILUTSequence": table_12}}),
        "modality": (small, {"bits": 8, "items": {"ModalityLUTSequence": table_8}}),
        "presented": (deep, {**one, "items": {"PresentationLUTSequence": presented}}),
        "shape": (deep, {**one, "PresentationLUTShape": "INVERSE"}),
        "padding": (padded, {"bits": 12, "PixelPaddingValue": 63536}),
        "beyond": (padded, {"bits": 12}),
        "high_bit": (deep * 16, {"bits": 12, "HighBit": 15}),
        "high_bit_wrong": (deep, {"bits": 12, "HighBit": 15}),
        "swapped": (((deep * 16) >> 8) | (((deep * 16) & 255) << 8), {"bits": 16}),
        "rgb": (colours, {"bits": 8, "PlanarConfiguration": 0}),
        "planes": (
            np.moveaxis(colours, 2, 0).reshape(colours.shape),
            {"bits": 8, "PlanarConfiguration": 1},
        ),
        "big": (deep, {**one, "syntax": "1.2.840.10008.1.2.2"}),
        "implicit": (deep, {**one, "syntax": "1.2.840.10008.1.2"}),
        "hot": (hot, {"bits": 16}),
        "frames": (deep, {"NumberOfFrames": 2}),
        "rows": (deep, {"Rows": deep.shape[0] + 5}),
        "no_sign": (deep, {"PixelRepresentation": None}),
    }  # fmt: skip
    for name, (values, options) in files.items():
        dicom(folder / f"{name}.dcm", values, **options)
    whole = (folder / "window.dcm").read_bytes()
    (folder / "bare.dcm").write_bytes(whole[132:])
    (folder / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    arrays = {
        "grey8": small.astype(np.uint8),
        "grey12": deep.astype(np.uint16),
        "grey16": (deep * 16).astype(np.uint16),
        "spread": (small * 257).astype(np.uint16),
        "bits1": (small > 100),
        "rgb": colours.astype(np.uint8),
        "rgba": np.dstack([colours, small]).astype(np.uint8),
        "la": np.dstack([small, colours[..., 1]]).astype(np.uint8),
    }
    for name, array in arrays.items():
        Image.fromarray(array).save(folder / f"{name}.png")
    grey_palette = Image.fromarray(arrays["grey8"]).quantize(16)
    grey_palette.save(folder / "palette4.png", bits=4)
    Image.fromarray(arrays["rgb"]).quantize(200).save(folder / "palette8.png")
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(arrays["grey8"]).save(folder / "turned.png", exif=turned)
    return sorted(folder.iterdir())


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_files_are_read_as_dentalzoo_reads_them_or_refused(built, radiograph, tmp_path):
    node = shutil.which("node") or ROOT / ".venv-page" / "bin" / "node"
    (tmp_path / "files").mkdir()
    files = write_many(tmp_path / "files", radiograph)
    script = ROOT / "tests" / "page_reading.mjs"
    command = [node, script, tmp_path / "built", *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    refused = set()
    for path, line in zip(files, done.stdout.splitlines(), strict=True):
        found = json.loads(line)
        if "problem" in found:
            refused.add(path.name)
            continue
        expected = read_image(path, warn=False)  # who is refused by dentalzoo is by the page
        assert found["shape"] == [*expected.shape], path.name
        pixels = np.frombuffer(base64.b64decode(found["pixels"]), np.uint8)
        assert np.abs(pixels.astype(int) - expected.ravel()).max() == 0, path.name
    assert refused == REFUSED


@pytest.mark.parametrize("kind", ["png", "dcm", "jpeg.dcm", "jpg"])
def test_results_are_those_of_predict(page, radiograph, kind, tmp_path):
    path = tmp_path / f"image.{kind}"
    stem = path.name.rpartition(".")[0]
    if kind == "dcm":
        write_dicom(path, radiograph)
    elif kind == "jpeg.dcm":
        write_jpeg_dicom(path, radiograph)
    elif kind == "jpg":  # on its side, with the orientation that says so
        exif = Image.Exif()
        exif[274] = 6
        turned = np.rot90(radiograph[..., 0])
        Image.fromarray(turned).save(path, quality=92, exif=exif)
    else:
        write_png(path, radiograph)
    upload(page, path)
    mask, name = saved(page, '[data-save="mask"]')
    coco = json.loads(saved(page, '[data-save="coco"]')[0])
    assert name == f"{stem}.png"

    dz.predict(UNET, path, tmp_path / "unet")
    expected = read_image(tmp_path / "unet" / name)
    (tmp_path / "mask.png").write_bytes(mask)
    found = read_image(tmp_path / "mask.png")
    assert found.shape == expected.shape and set(np.unique(found)) == {0, 255}
    assert np.mean(found != expected) <= 0.001

    names = {entry["id"]: entry["name"] for entry in coco["categories"]}
    boxes = [(names[a["category_id"]], a["bbox"]) for a in coco["annotations"] if "score" in a]
    wanted = []
    for bundle in DETECTORS:
        loaded = dz.load(bundle)
        dz.predict(loaded, path, tmp_path / bundle)
        classes = loaded.metadata["config"]["classes"]
        entries = json.loads((tmp_path / bundle / "detections.json").read_text())
        wanted += [(classes[e["category_id"] - 1], e["bbox"]) for e in entries]
        told = json.loads((tmp_path / bundle / "familiarity.json").read_text())[0]
        shown = page.locator("#radiograph .warning").all_text_contents()
        for reason in told["reasons"]:
            assert any(reason in text or reason[1:] in text for text in shown), reason
    assert len(boxes) > 5 and sorted(n for n, _ in boxes) == sorted(n for n, _ in wanted)
    for (_, one), (_, other) in zip(sorted(boxes), sorted(wanted), strict=True):
        assert one == pytest.approx(other, abs=1)


def test_layers_sliders_zoom_and_downloads(page, radiograph, tmp_path):
    write_png(tmp_path / "a.png", radiograph)
    upload(page, tmp_path / "a.png")
    plain = radiograph.repeat(3, axis=2)

    def overlay():
        (tmp_path / "overlay.png").write_bytes(saved(page, '[data-save="overlay"]')[0])
        return read_image(tmp_path / "overlay.png", 3).astype(int)

    numbers = int(page.locator('[data-count="numbers"]').inner_text())
    slider = page.locator('[data-confidence="numbers"]')
    slider.focus()
    page.keyboard.press("End")
    assert page.locator('[data-confidence-value="numbers"]').inner_text() == "0.99"
    assert int(page.locator('[data-count="numbers"]').inner_text()) < numbers
    first = np.abs(overlay() - plain).sum()
    page.locator("[data-opacity]").fill("90")
    assert np.abs(overlay() - plain).sum() > 1.5 * first
    for layer in ("teeth", "numbers", "findings"):
        page.locator(f'[data-layer="{layer}"]').uncheck()
    assert np.array_equal(overlay(), plain)
    for layer in ("teeth", "numbers", "findings"):
        page.locator(f'[data-layer="{layer}"]').check()

    canvas = page.locator("#radiograph [data-canvas]")
    canvas.focus()
    page.keyboard.press("0")
    whole = canvas.screenshot()
    page.keyboard.press("+")
    page.keyboard.press("+")
    near = canvas.screenshot()
    page.keyboard.press("ArrowLeft")
    assert len({whole, near, canvas.screenshot()}) == 3
    page.keyboard.press("0")
    assert canvas.screenshot() == whole


def test_other_files_are_refused_in_one_line_or_warned_of(page, radiograph, tmp_path):
    problem = page.locator("#radiograph [data-problem]")
    write_png(tmp_path / "whole.png", radiograph)
    content = (tmp_path / "whole.png").read_bytes()
    files = {
        "cut.png": content[: len(content) // 2],
        "notes.png": b"no image at all",
        "empty.jpg": b"",
        "cut.dcm": bytes(128) + b"DICM" + bytes(50),
        "page.pdf": b"%PDF-1.7 ...",
    }
    for name, part in files.items():
        (tmp_path / name).write_bytes(part)
        page.locator("#radiograph [data-file]").set_input_files(tmp_path / name)
        problem.get_by_text(f"{name}: ").wait_for()
        assert "\n" not in problem.inner_text() and len(problem.inner_text()) < 250
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    write_png(tmp_path / "noise.png", noise)
    upload(page, tmp_path / "noise.png")
    assert not problem.is_visible()
    warned = page.locator("#radiograph .warning.foreign").all_inner_texts()
    assert warned and all("do not rely on the result" in text for text in warned)


def test_a_large_radiograph(page, radiograph, tmp_path):
    large = np.asarray(Image.fromarray(radiograph[..., 0]).resize((6000, 3000)))
    write_png(tmp_path / "large.png", large)
    page.locator("#radiograph [data-file]").set_input_files(tmp_path / "large.png")
    page.get_by_text("large.png, 6000").wait_for()
    wait_for_teeth(page)
    (tmp_path / "mask.png").write_bytes(saved(page, '[data-save="mask"]')[0])
    mask = read_image(tmp_path / "mask.png")
    assert mask.shape == (3000, 6000, 1) and 0.05 < np.mean(mask == 255) < 0.5


def test_it_asks_for_nothing_after_it_was_loaded_and_works_offline(
    context, page, address, radiograph, tmp_path
):
    before = len(Handler.asked)
    write_png(tmp_path / "private.png", radiograph)
    upload(page, tmp_path / "private.png")
    saved(page, '[data-save="overlay"]')
    context.set_offline(True)
    page.reload()
    wait_for_teeth(page)
    context.set_offline(False)
    asked = [path for path in Handler.asked[before:] if path not in ("/sw.js",)]
    assert asked == []  # but for the service worker, of which a browser looks for a newer one
    assert context.problems == []


def changes_from(before, canvas):
    """Wait until an image on the page is another one; False where it stays."""
    end = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < end:
        if canvas.screenshot() != before:
            return True
        time.sleep(0.2)
    return False


def test_teeth_defects_and_jaws(page, built, tmp_path):
    changes = {"teeth": "[data-tooth]", "defects": "[data-result]"}
    for tab, shown in changes.items():
        page.locator(f"#tab-{tab}").click()
        page.locator(f"#{tab}[data-done]").wait_for()
        canvas, slider = (
            page.locator(f"#{tab} {shown}"),
            page.locator(f"#{tab} .slider input").first,
        )
        before = canvas.screenshot()
        slider.focus()
        page.keyboard.press("End")
        assert changes_from(before, canvas)
    page.locator("#tab-jaw").click()
    page.locator("#jaw[data-done]").wait_for()
    content = saved(page, "#jaw [data-save]")[0].partition(b"end_header\n")[2]
    points = np.frombuffer(content, "<f4").reshape(-1, 3)
    views = [read_image(built / "data" / "samples" / f"view_{i}.png") for i in range(10)]
    expected = dz.load("jaw_reconstruction.drawn_scans_v3").serve(np.stack(views))["points"]
    apart = cKDTree(expected).query(points)[0]  # mm; last digits decide which points are taken
    assert points.shape == expected.shape
    assert np.percentile(apart, 80) < 0.01 and apart.max() < 1
    frame = page.frame_locator("#jaw [data-viewer]")
    assert frame.get_by_text("Not for diagnosis").is_visible()
    page.locator("#tab-radiograph").click()


def test_on_a_phone(browser, address):
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(address)
    wait_for_teeth(page)
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    context.close()
    assert wide <= 360
