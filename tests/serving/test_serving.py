"""The HTTP API over a real connection, on stand-ins of bundles."""

import base64
import contextlib
import http.client
import io
import json
import os
import shlex
import shutil
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentalzoo.cli import main
from dentalzoo.data.io.images import encode_png
from dentalzoo.errors import DentalzooError
from tests.charting.test_charting import FINDINGS, Boxes
from tests.data.dicom_out.conftest import radiograph  # noqa: F401, a fixture
from tests.data.dicom_out.test_validation import validate
from tests.tasks.test_segmentation import StandIn

pytest.importorskip("fastapi", reason="the extra serve is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from dentalzoo.serving.app import Limits, make_app  # noqa: E402

GREY = np.zeros((40, 60, 1), np.uint8)
GREY[4:20, 6:30] = 190
PNG = encode_png(GREY)
BOX = (2, 0.9, (0.1, 0.2, 0.5, 0.6))
LABELS = "".join(f'<Label value="{name}"/>' for name in FINDINGS)
CONFIG = (
    '<View><Image name="img" value="$xray"/>'
    f'<RectangleLabels name="box" toName="img">{LABELS}</RectangleLabels>'
    '<PolygonLabels name="area" toName="img"><Label value="tooth"/></PolygonLabels></View>'
)


class Finder(Boxes):
    """Boxes, after some time."""

    task = "detection"
    seconds = 0.0

    def detect(self, image):
        time.sleep(self.seconds)
        return super().detect(image)


class Segmenter(StandIn):
    name, task = "masks", "segmentation"


class Client:
    """Asks a server of its own thread, and keeps the headers of its last answer."""

    def __init__(self, port):
        self.port, self.headers = port, {}

    def __call__(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            given = {key.replace("_", "-"): value for key, value in headers.items()}
            if isinstance(body, dict):
                body = json.dumps(body)
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            content = answer.read()
        if answer.getheader("content-type", "").startswith("application/json"):
            content = json.loads(content)
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        is_check = path in ("/healthz", "/label-studio/masks/health", "/label-studio/masks/")
        is_check = is_check and (method, answer.status) == ("GET", 200)
        assert ("x-request-id" in self.headers) == (not is_check)
        return answer.status, content

    def refused(self, status, method, path, body=None, **headers):
        """Return the one line of an error."""
        got, content = self(method, path, body, **headers)
        assert (got, set(content)) == (status, {"error", "request"}), content
        assert "\n" not in content["error"] and "Traceback" not in content["error"]
        return content["error"]


@contextlib.contextmanager
def serving(*bundles, **options):
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(make_app(bundles, **options), log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield Client(listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def ask():
    with serving(Segmenter(), Finder("boxes", FINDINGS, [BOX])) as client:
        yield client


def test_bundles_are_listed_and_described(ask):
    status, content = ask("GET", "/v1")
    assert status == 200
    assert [(b["name"], b["task"]) for b in content["bundles"]] == [
        ("masks", "segmentation"),
        ("boxes", "detection"),
    ]
    assert ask("GET", "/healthz")[1]["status"] == "ok"
    description = ask("GET", "/openapi.json")[1]
    assert set(description["paths"]["/v1/{bundle}"]["post"]["responses"]) >= {
        *("200", "404", "406", "413", "415", "422", "501", "503", "504")
    }


def test_an_image_gives_objects_as_json(ask):
    status, content = ask("POST", "/v1/boxes", PNG, Content_Type="image/png")
    assert status == 200 and content["notice"] == "Research only, not for diagnosis."
    assert content["image"] == {"width": 60, "height": 40}
    assert content["objects"] == [
        {"class": "Fillings", "box": [12.0, 4.0, 36.0, 20.0], "score": 0.9}
    ]
    assert content["familiarity"]["verdict"] == "familiar"
    assert ask("POST", "/v1/boxes?score_threshold=0.95", PNG)[1]["objects"] == []
    (tooth,) = ask("POST", "/v1/masks", PNG)[1]["objects"]
    assert tooth["class"] == "tooth" and tooth["polygons"]


def test_accept_chooses_the_form(ask):
    _, mask = ask("POST", "/v1/masks", PNG, Accept="image/png")
    with Image.open(io.BytesIO(mask)) as image:
        assert set(np.unique(np.asarray(image))) == {0, 255}
    _, drawn = ask("POST", "/v1/boxes", PNG, Accept="text/html, image/*;q=0.9, */*;q=0.1")
    with Image.open(io.BytesIO(drawn)) as image:
        assert image.size == (60, 40) and image.mode == "RGB"
    assert "image/png" in ask.refused(406, "POST", "/v1/masks", PNG, Accept="text/html")


def test_dicom_in_and_dicom_out(ask, radiograph, tmp_path):  # noqa: F811
    content = radiograph("a.dcm", pixels=GREY[..., 0], BitsStored=8, HighBit=7).read_bytes()
    for bundle, modality in (("masks", "SEG"), ("boxes", "SR")):
        status, made = ask("POST", f"/v1/{bundle}", content, Accept="application/dicom")
        assert status == 200
        path = tmp_path / f"{modality}.dcm"
        path.write_bytes(made)
        assert not shutil.which("dciodvfy") or validate(path) == []
    text = ask.refused(422, "POST", "/v1/masks", PNG, Accept="application/dicom")
    assert "must be a DICOM file" in text


def test_every_form_of_an_answer_says_whether_the_image_is_known(radiograph, tmp_path):  # noqa: F811
    pydicom = pytest.importorskip("pydicom")
    foreign = Finder("foreign", FINDINGS, [BOX], 6.74)
    content = radiograph("a.dcm", pixels=GREY[..., 0], BitsStored=8, HighBit=7).read_bytes()
    body = {"image": base64.b64encode(PNG).decode()}
    tasks = {"tasks": [{"data": {"image": data_address(PNG)}}] * 2}
    with serving(Segmenter(), foreign, Finder("familiar", FINDINGS, [BOX], 0.42)) as ask:
        for name, header in (
            ("foreign", "foreign; score=6.74; bound=1"),
            ("familiar", "familiar; score=0.42; bound=1"),
            ("masks", "unknown"),
        ):
            for kind in ("application/json", "image/png", "application/dicom"):
                status, made = ask("POST", f"/v1/{name}", content, Accept=kind)
                assert (status, ask.headers["x-familiarity"]) == (200, header)
            warns = b"do not rely on the result: a colour image" in made
            assert warns == (name == "foreign")
            assert ask("POST", f"/label-studio/{name}/predict", tasks)[0] == 200
            assert ask.headers["x-familiarity"] == header
            ask("POST", "/api/function_invocations", body, x_nuclio_function_name=name)
            assert ask.headers["x-familiarity"] == header
        _, made = ask("POST", "/v1/foreign", content, Accept="application/dicom")
        assert pydicom.dcmread(io.BytesIO(made)).Modality == "SR"
        ask("GET", "/v1")
        assert "x-familiarity" not in ask.headers
        ask("POST", "/label-studio/foreign/predict", {"tasks": []})
        assert "x-familiarity" not in ask.headers
        paths = ask("GET", "/openapi.json")[1]["paths"]
    for path in ("/v1/{bundle}", "/label-studio/{bundle}/predict", "/api/function_invocations"):
        assert "X-Familiarity" in paths[path]["post"]["responses"]["200"]["headers"]


def test_an_empty_result_is_a_reason_as_in_predict():
    teeth = Finder("teeth", ("11", "12"), [], 0.5)
    with serving(teeth, Finder("boxes", FINDINGS, [], 0.5)) as ask:
        reasons = ask("POST", "/v1/teeth", PNG)[1]["familiarity"]["reasons"]
        assert reasons == ["empty result: nothing was found"]
        assert ask("POST", "/v1/boxes", PNG)[1]["familiarity"]["reasons"] == []


def test_every_identifier_that_a_client_gets_is_in_the_log(tmp_path, caplog):
    caplog.set_level("INFO", logger="dentalzoo")
    (tmp_path / "index.html").write_text("<title>teeth</title>")
    given = []
    with serving(Segmenter(), page=tmp_path) as ask:
        for method, path, body in (
            ("GET", "/v1", None),
            ("POST", "/v1/masks", PNG),
            ("POST", "/v1/other", PNG),
            ("POST", "/v1/masks", b"x"),
            ("DELETE", "/healthz", None),
            ("GET", "/openapi.json", None),
            ("GET", "/api/functions", None),
            ("GET", "/api/functions/none", None),
            ("POST", "/api/function_invocations", b"{}"),
            ("POST", "/api/function_invocations", b"["),
            ("POST", "/label-studio/masks/setup", b"["),
            ("POST", "/label-studio/masks/predict", {"tasks": []}),
            ("POST", "/label-studio/masks/webhook", b"{}"),
            ("GET", "/label-studio/masks", None),
            ("GET", "/label-studio/none/", None),
            ("GET", "/nothing", None),
            ("GET", "/", None),
        ):
            _, content = ask(method, path, body)
            given.append(ask.headers["x-request-id"])
            if isinstance(content, dict) and "error" in content:
                assert content["request"] == given[-1]
        ask("GET", "/v1", Host="elsewhere.example")
        given.append(ask.headers["x-request-id"])
        for path in ("/healthz", "/label-studio/masks/health", "/label-studio/masks/"):
            assert ask("GET", path)[0] == 200
    logged = [message.split()[0] for message in caplog.messages if message.endswith(" ms")]
    assert logged == given and len(set(given)) == len(given) == 18
    assert not [message for message in caplog.messages if "masks" in message or "/" in message]


def test_a_package_that_the_server_lacks_is_its_fault(radiograph, monkeypatch, caplog):  # noqa: F811
    content = radiograph("a.dcm", pixels=GREY[..., 0], BitsStored=8, HighBit=7).read_bytes()
    with serving(Segmenter()) as ask:
        for package in ("highdicom", "pydicom"):  # to write, and to read
            monkeypatch.setitem(sys.modules, package, None)
            text = ask.refused(501, "POST", "/v1/masks", content, Accept="application/dicom")
            assert text == (
                f"the server lacks a package: {package} must be installed for this: "
                "pip install 'dentalzoo[dicom]'"
            )
            identifier = ask.headers["x-request-id"]
            assert f"{identifier}: a package is missing: {package} must be installed" in caplog.text
        assert ask("POST", "/v1/masks", PNG)[0] == 200


def test_a_decoder_that_the_server_lacks_is_its_fault(ask, radiograph, monkeypatch, caplog):  # noqa: F811
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.dcmread(radiograph("a.dcm", pixels=GREY[..., 0], BitsStored=8, HighBit=7))
    syntax = "1.2.840.10008.1.2.4.90"
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0" * 400])
    dataset["PixelData"].VR = "OB"
    content = io.BytesIO()
    dataset.save_as(content)
    for decoders, status in (({syntax: ("absent",)}, 501), ({}, 422)):
        monkeypatch.setattr("dentalzoo.data.io.dicom_pixels._DECODERS", decoders)
        ask.refused(status, "POST", "/v1/masks", content.getvalue())
        assert (ask.headers["x-request-id"] in caplog.text) == (status == 501)


def test_the_lines_of_the_page_are_answered(ask, radiograph):  # noqa: F811
    """As curl sends them: without a Content-Type of their own they would be a form."""
    contents = {"png": PNG, "dcm": radiograph("a.dcm", pixels=GREY[..., 0], BitsStored=8,
                                              HighBit=7).read_bytes()}  # fmt: skip
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    lines = [shlex.split(line) for line in page.splitlines() if line.startswith("curl ")]
    assert len(lines) == 3
    for words in lines:
        given = dict(words[i + 1].split(": ") for i, word in enumerate(words) if word == "-H")
        kind = words[words.index("--data-binary") + 1].rpartition(".")[2]
        (address,) = [word for word in words if "/v1/" in word]
        path = "/v1/masks" if address.endswith("panoramic_unet.panoramic_teeth_v2") else "/v1/boxes"
        given = {"Content-Type": "application/x-www-form-urlencoded", **given}
        status, content = ask("POST", path, contents[kind], **given)
        assert status == 200, (words, content)


def test_what_is_wrong_is_said_with_its_status(ask):
    assert "masks, boxes" in ask.refused(404, "POST", "/v1/other", PNG)
    ask.refused(404, "GET", "/nothing")
    ask.refused(405, "DELETE", "/v1")
    ask.refused(415, "POST", "/v1/masks", b"no image at all" * 20)
    ask.refused(415, "POST", "/v1/masks", b"")
    form = "multipart/form-data; boundary=x"
    assert "not a form" in ask.refused(415, "POST", "/v1/masks", PNG, Content_Type=form)
    ask.refused(422, "POST", "/v1/masks", PNG[:60])
    ask.refused(422, "POST", "/v1/boxes?score_threshold=2", PNG)
    ask.refused(422, "POST", "/v1/boxes?score_threshold=x", PNG)
    ask.refused(421, "GET", "/v1", Host="elsewhere.example")


def test_too_many_bytes_or_pixels_are_refused(ask, monkeypatch):
    with serving(Segmenter(), limits=Limits(body_bytes=1000)) as small:
        assert "1,000 bytes" in small.refused(413, "POST", "/v1/masks", bytes(1001))
        chunks = iter([PNG, bytes(1000)])
        small.refused(413, "POST", "/v1/masks", chunks)
    monkeypatch.setenv("DENTALZOO_MAX_PIXELS", "1000")
    assert "1,000 pixels" in ask.refused(413, "POST", "/v1/masks", PNG)


def test_a_full_server_and_a_slow_one_say_so():
    slow = Finder("boxes", FINDINGS, [BOX])
    slow.seconds = 0.6
    with serving(slow, limits=Limits(threads=1, waiting=0, seconds=5)) as ask:
        first = threading.Thread(target=ask, args=("POST", "/v1/boxes", PNG))
        first.start()
        time.sleep(0.2)
        assert "try again" in ask.refused(503, "POST", "/v1/boxes", PNG)
        first.join()
        assert ask("POST", "/v1/boxes", PNG)[0] == 200
    with serving(slow, limits=Limits(threads=1, waiting=0, seconds=0.2)) as ask:
        assert "0.2 s" in ask.refused(504, "POST", "/v1/boxes", PNG)
        ask.refused(503, "POST", "/v1/boxes", PNG)  # its slot is still taken
        time.sleep(0.8)
        ask.refused(504, "POST", "/v1/boxes", PNG)


def test_an_error_of_the_server_tells_nothing(caplog):
    broken = Segmenter()
    broken.serve = broken.segment = lambda image: 1 / 0
    with serving(broken) as ask:
        assert ask.refused(500, "POST", "/v1/masks", PNG) == "an error of the server"
    assert "ZeroDivisionError" in caplog.text and "Traceback" not in caplog.text


def test_a_page_is_shown_beside_the_api(tmp_path):
    with pytest.raises(DentalzooError, match="index.html"):
        make_app([Segmenter()], page=tmp_path)
    (tmp_path / "index.html").write_text("<title>teeth</title>")
    with serving(Segmenter(), page=tmp_path) as ask:
        assert b"teeth" in ask("GET", "/")[1]
        assert ask("GET", "/v1")[0] == 200
        ask.refused(404, "GET", "/../../etc/passwd")


def test_eight_clients_make_no_error_and_memory_stays_flat(ask):
    def resident():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def run(count):
        left, statuses, lock = iter(range(count)), [], threading.Lock()

        def client():
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                statuses.append(ask("POST", "/v1/boxes", PNG)[0])

        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return statuses

    assert set(run(100)) == {200}
    before = resident()
    assert run(400) == [200] * 400
    assert resident() < before + 20


def test_a_bundle_for_another_task_is_refused():
    other = Segmenter()
    other.task = "generation"
    with pytest.raises(DentalzooError, match="segmentation or detection"):
        make_app([other])


@pytest.mark.parametrize("words", [["--threads", "0"], ["--timeout", "nan"], ["--max-bytes", "0"]])
def test_flags_are_checked(words, capsys):
    assert main(["serve", *words]) == 2
    assert capsys.readouterr().err.startswith(f"dentalzoo: {words[0]} must be at least")


# ---- annotation tools ----------------------------------------------------------------------------


def data_address(content):
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def test_label_studio_sets_up_and_gets_predictions(ask):
    place = "/label-studio/boxes"
    health = ask("GET", "/label-studio/masks/health")[1]
    assert health == {"status": "UP", "model_class": "masks"}
    setup = {"project": "1.1", "schema": CONFIG, "hostname": "", "access_token": ""}
    assert ask("POST", f"{place}/setup", setup)[1] == {"model_version": "boxes"}
    tasks = [{"id": 7, "data": {"xray": data_address(PNG)}}] * 2
    status, content = ask("POST", f"{place}/predict", {"tasks": tasks, "label_config": CONFIG})
    assert status == 200 and len(content["results"]) == 2
    (region,) = content["results"][0]["result"]
    assert (region["from_name"], region["to_name"]) == ("box", "img")
    assert region["value"]["rectanglelabels"] == ["Fillings"]
    assert region["value"]["x"] == pytest.approx(20) and region["value"]["width"] == pytest.approx(
        40
    )
    assert content["results"][0]["score"] == pytest.approx(0.9)
    masks = ask("POST", "/label-studio/masks/predict", {"tasks": tasks, "label_config": CONFIG})[1]
    assert {region["type"] for region in masks["results"][0]["result"]} == {"polygonlabels"}
    assert ask("POST", f"{place}/webhook", {"action": "ANNOTATION_CREATED"})[0] == 201
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    checker = interface.LabelInterface(CONFIG)
    for made in (content, masks):
        assert checker.validate_prediction(made["results"][0], return_errors=True) == []


def test_label_studio_is_refused_in_one_line(ask):
    place = "/label-studio/boxes/predict"
    ask.refused(404, "POST", "/label-studio/none/predict", {})
    ask.refused(422, "POST", place, b"[]")
    ask.refused(422, "POST", place, {"tasks": 3})
    for value in ("http://127.0.0.1/a.png", "/data/upload/a.png", "file:///etc/passwd", None, 3):
        text = ask.refused(422, "POST", place, {"tasks": [{"data": {"image": value}}]})
        assert "data: addresses" in text
    one = [{"data": {"xray": data_address(PNG)}}]
    for config in ("<View>", "<View/>", "<!DOCTYPE a><View/>", CONFIG.replace("Fillings", "x")):
        assert "label_config" in ask.refused(
            422, "POST", place, {"tasks": one, "label_config": config}
        )


def test_images_are_fetched_from_the_one_label_studio_alone(monkeypatch):
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    asked = []

    class Studio(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(302 if "moved" in self.path else 200)
            self.send_header("Location", "http://localhost:1/")
            self.end_headers()
            self.wfile.write(PNG)

        def log_message(self, *arguments):
            pass

    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "key")
    studio = ThreadingHTTPServer(("127.0.0.1", 0), Studio)
    threading.Thread(target=studio.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{studio.server_port}"
    with serving(Finder("boxes", FINDINGS, [BOX]), label_studio=address) as ask:
        for value, status in (
            ("/data/upload/1/a.png", 200),
            (f"{address}/data/b.png", 200),
            ("/moved", 422),
            ("http://example.com/a.png", 422),
            ("//example.com/a.png", 422),
        ):
            body = {"tasks": [{"data": {"image": value}}]}
            assert ask("POST", "/label-studio/boxes/predict", body)[0] == status, value
    studio.shutdown()
    studio.server_close()
    assert asked == [(p, "Token key") for p in ("/data/upload/1/a.png", "/data/b.png", "/moved")]


def test_cvat_lists_functions_and_calls_them(ask):
    functions = ask("GET", "/api/functions")[1]
    assert set(functions) == {"masks", "boxes"}
    one = ask("GET", "/api/functions/boxes")[1]
    assert one == functions["boxes"]
    assert one["metadata"]["annotations"]["type"] == "detector"
    spec = json.loads(one["metadata"]["annotations"]["spec"])
    assert spec[1] == {"id": 2, "name": "Fillings", "type": "rectangle"}
    body = {"image": base64.b64encode(PNG).decode(), "threshold": 0.5}
    status, shapes = ask("POST", "/api/function_invocations", body, x_nuclio_function_name="boxes")
    assert (status, shapes) == (
        200,
        [
            {
                "label": "Fillings",
                "confidence": "0.8999999761581421",
                "type": "rectangle",
                "points": [12.0, 4.0, 36.0, 20.0],
            }
        ],
    )
    _, shapes = ask("POST", "/api/function_invocations", body, x_nuclio_function_name="masks")
    assert {shape["type"] for shape in shapes} == {"polygon"}
    ask.refused(404, "POST", "/api/function_invocations", body, x_nuclio_function_name="none")
    for wrong in ({"image": "%"}, {}, {**body, "threshold": "high"}):
        ask.refused(
            *(422, "POST", "/api/function_invocations", wrong), x_nuclio_function_name="boxes"
        )


def test_the_command_serves_and_ends_on_ctrl_c(monkeypatch, capsys):
    monkeypatch.setattr("dentalzoo.load", lambda name: Segmenter())
    given = []

    def end(server, sockets):
        given.extend(one.getsockname() for one in sockets)
        assert not server.config.access_log
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", end)
    assert main(["serve", "masks", "--port", "0"]) == 130
    ((host, port),) = given
    assert host == "127.0.0.1" and port
    assert f"http://127.0.0.1:{port}/v1" in capsys.readouterr().out
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = str(taken.getsockname()[1])
        for words in (["--port", busy], ["--port", "99999"], ["--host", "203.0.113.1"]):
            assert main(["serve", "masks", *words]) == 2
            assert len(capsys.readouterr().err.splitlines()) == 1
