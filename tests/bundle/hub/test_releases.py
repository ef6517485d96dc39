"""The hub against a real server on this machine: every way in which a download can fail."""

import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dentalzoo.bundle import hub
from dentalzoo.bundle.hub import download, resolve
from dentalzoo.contracts import Weights
from dentalzoo.errors import DentalzooError

BUNDLE = "unet.teeth_v1"
NOISE = os.urandom(300_000)
FILES = {"metadata.json": b"{}", "saved_model/saved_model.pb": NOISE}


def packed(files, kind="tar.gz", top=""):
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as file:
            for name, content in files.items():
                file.writestr(top + name, content)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as file:
            for name, content in files.items():
                member = tarfile.TarInfo(top + name)
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


ARCHIVE = packed(FILES)


class Server(ThreadingHTTPServer):
    """Serves `body`; `plan` holds the faults of the next requests, in order."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.plan, self.requests = ARCHIVE, [], []
        self.url = f"http://127.0.0.1:{self.server_port}/files/{BUNDLE}.tar.gz"

    def handle_error(self, request, client_address):
        pass  # a client that went away


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server, body = self.server, self.server.body
        server.requests.append(self.headers.get("Range"))
        fault = server.plan.pop(0) if server.plan else None
        if isinstance(fault, int):
            return self.send_error(fault)
        start = 0
        if self.headers.get("Range") and fault != "ignore range":
            start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1])
            if start >= len(body):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        body = body[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "slow":
            time.sleep(1)
        self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, no pauses, and no settings of the environment."""
    monkeypatch.setenv("DENTALZOO_CACHE", str(tmp_path / "cache"))
    for name in ("DENTALZOO_PRETRAINED", "DENTALZOO_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "PAUSE", 0.0)
    return tmp_path / "cache"


def weights(server, body=ARCHIVE, **changed):
    facts = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "url": server.url}
    return Weights(**{**facts, **changed})


def get(table, name=BUNDLE, **arguments):
    table = table if isinstance(table, dict) else {"teeth_v1": table}
    return resolve(name, names=["unet", "tooth_vae"], tags=lambda name: table, **arguments)


def content(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def make_bundle(folder, files=FILES):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def fails(message, table, **arguments):
    """The call raises one line that matches, and leaves no bundle in the cache."""
    with pytest.raises(DentalzooError, match=message) as caught:
        get(table, **arguments)
    assert "\n" not in str(caught.value)
    assert "Received: " in str(caught.value)
    assert not (hub.cache_dir() / BUNDLE).exists()
    assert not (hub.cache_dir() / f"{BUNDLE}.unpacking").exists()
    return str(caught.value)


def leftovers(cache):
    return sorted(p.name for p in cache.iterdir() if p.suffix != ".lock")


# ---- download ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
@pytest.mark.parametrize("top", ["", f"{BUNDLE}/"])
def test_downloads_once(server, cache, kind, top):
    server.body = packed(FILES, kind, top)
    table = weights(server, server.body, url=server.url.replace("tar.gz", kind))
    assert get(table) == cache / BUNDLE
    assert content(cache / BUNDLE) == FILES
    assert get(table) == cache / BUNDLE
    assert len(server.requests) == 1
    assert leftovers(cache) == [BUNDLE]


def test_resumes_after_a_cut(server, cache):
    server.plan = ["cut"]
    assert content(get(weights(server))) == FILES
    assert server.requests == [None, f"bytes={len(ARCHIVE) // 2}-"]


def test_resumes_what_a_killed_process_left(server, cache):
    cache.mkdir()
    (cache / f"{BUNDLE}.tar.gz.part").write_bytes(ARCHIVE[:1000])
    (cache / f"{BUNDLE}.unpacking").mkdir()
    assert content(get(weights(server))) == FILES
    assert server.requests == ["bytes=1000-"]
    assert leftovers(cache) == [BUNDLE]


@pytest.mark.parametrize(
    "size", [1000, len(ARCHIVE), len(ARCHIVE) + 1], ids=("part", "as long", "longer")
)
def test_starts_again_when_another_file_was_left(server, cache, size):
    cache.mkdir()
    (cache / f"{BUNDLE}.tar.gz.part").write_bytes(bytes(size))
    assert content(get(weights(server))) == FILES


def test_starts_again_when_the_server_ignores_ranges(server):
    server.plan = ["cut", "ignore range"]
    assert content(get(weights(server))) == FILES
    assert len(server.requests) == 2


def test_keeps_the_beginning_when_the_connection_stays_bad(server, cache):
    server.plan = ["cut"] * 3
    got = len(ARCHIVE) - -(-len(ARCHIVE) // 8)
    message = fails(f"got {got} of {len(ARCHIVE)} bytes", weights(server))
    assert "again to continue" in message
    assert content(get(weights(server))) == FILES
    assert server.requests[-1] == f"bytes={got}-"


@pytest.mark.parametrize("length", [0, 1, len(ARCHIVE) - 1], ids=("nothing", "a byte", "most"))
def test_truncated_on_the_server(server, cache, length):
    server.body = ARCHIVE[:length]
    fails(f"got {length} of {len(ARCHIVE)} bytes", weights(server))
    assert leftovers(cache) == []


def test_shorter_on_the_server_than_what_was_left(server, cache):
    cache.mkdir()
    (cache / f"{BUNDLE}.tar.gz.part").write_bytes(ARCHIVE[:1000])
    server.body = ARCHIVE[:500]
    fails(f"got 500 of {len(ARCHIVE)} bytes", weights(server))
    assert leftovers(cache) == []


def test_longer_than_the_table_says(server, cache):
    server.body = ARCHIVE + bytes(1 << 23)
    message = fails(f"of {len(ARCHIVE)} bytes", weights(server))
    assert int(re.search(r"got (\d+) of", message)[1]) < len(ARCHIVE) + (1 << 20)
    assert leftovers(cache) == []


def test_wrong_hash(server, cache):
    server.body = bytearray(ARCHIVE)
    server.body[1000] ^= 1
    digest = hashlib.sha256(server.body).hexdigest()
    message = fails("not the released file", weights(server))
    assert digest in message and hashlib.sha256(ARCHIVE).hexdigest() in message
    assert leftovers(cache) == []


def test_a_busy_server_gets_another_request(server):
    server.plan = [503, 429]
    assert content(get(weights(server))) == FILES


def test_not_found_gets_no_other_request(server, cache):
    server.plan = [404]
    message = fails("HTTP 404", weights(server))
    assert str(cache / f"{BUNDLE}.tar.gz") in message
    assert len(server.requests) == 1


def test_no_server(cache):
    with Server() as server:
        table = weights(server)
    message = fails("cannot be reached", table)
    for fact in (table.url, table.sha256, str(table.size), str(cache / BUNDLE), "saved_model/"):
        assert fact in message


def test_a_dead_proxy(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr("urllib.request._opener", None)  # it was made before there was a proxy
    fails("cannot be reached", weights(server))
    assert server.requests == []


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_opens_no_connection(server, how, monkeypatch):
    if how == "environment":
        monkeypatch.setenv("DENTALZOO_OFFLINE", "1")
    fails(r"cannot be reached \(offline\)", weights(server), offline=how == "argument" or None)
    assert server.requests == []


def test_placed_by_hand(server, cache):
    cache.mkdir()
    placed = cache / f"{BUNDLE}.tar.gz"
    placed.write_bytes(ARCHIVE[:-1])
    fails(f"got {len(ARCHIVE) - 1} of", weights(server), offline=True)
    placed.write_bytes(ARCHIVE)
    assert content(get(weights(server), offline=True)) == FILES
    assert placed.exists() and server.requests == []


def test_malicious_archive(server, cache):
    server.body = packed({**FILES, "../evil": b"1"})
    fails("nothing was unpacked", weights(server, server.body))
    assert not list(cache.rglob("*evil*")) and not (cache.parent / "evil").exists()


def test_an_archive_without_a_bundle(server):
    server.body = packed({"readme": b"hello"})
    fails("must hold a bundle", weights(server, server.body))


def test_another_directory_of_the_name_is_not_removed(server, cache):
    (cache / BUNDLE).mkdir(parents=True)
    (cache / BUNDLE / "notes").write_text("mine")
    with pytest.raises(DentalzooError, match="must be a bundle or absent"):
        get(weights(server))
    assert (cache / BUNDLE / "notes").read_text() == "mine"


def test_a_cache_that_cannot_be_written(server, cache):
    cache.write_text("a file")
    with pytest.raises(DentalzooError, match="cannot be written.*DENTALZOO_CACHE"):
        get(weights(server))


def test_two_processes_at_once(server, cache):
    server.plan = ["slow"]
    code = (
        "import sys; from dentalzoo.bundle.hub import resolve; "
        "from dentalzoo.contracts import Weights; "
        f"table = {{'teeth_v1': {weights(server)!r}}}; "
        f"print(resolve({BUNDLE!r}, names=['unet'], tags=lambda name: table))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=-1, text=True) for _ in range(2)]
    assert [p.communicate(timeout=600)[0].strip() for p in both] == [str(cache / BUNDLE)] * 2
    assert content(cache / BUNDLE) == FILES
    assert len(server.requests) == 1


# ---- names and paths -----------------------------------------------------------------------------


def test_the_folders_in_their_order(tmp_path, monkeypatch):
    named = make_bundle(tmp_path / "named" / BUNDLE)
    cached = make_bundle(hub.cache_dir() / BUNDLE)
    assert resolve(BUNDLE) == cached
    monkeypatch.setenv("DENTALZOO_PRETRAINED", str(tmp_path / "named"))
    assert resolve(BUNDLE) == named
    checkout = Path(hub.__file__).resolve().parents[3] / "pretrained"
    shared = Path(sys.prefix) / "share" / "dentalzoo" / "pretrained"
    order = hub.folders()
    assert [order.index(f) for f in (named.parent, checkout)] == [0, 1]
    assert 1 < order.index(shared) < order.index(cached.parent) == len(order) - 1


def test_a_name_means_its_first_tag(server):
    table = {"teeth_v2": weights(server), "teeth_v1": weights(server)}
    assert get(table, "unet").name == "unet.teeth_v2"


def test_a_bundle_in_the_cache_needs_no_table():
    path = make_bundle(hub.cache_dir() / "unet.clinic_v1")
    assert resolve("unet.clinic_v1") == path


def test_paths(tmp_path, monkeypatch):
    bundle = make_bundle(tmp_path / "run" / "bundle")
    monkeypatch.chdir(tmp_path)
    for spelling in ("./run", "run", "run/bundle", tmp_path / "run", str(bundle)):
        assert resolve(spelling, names=["unet"]).resolve() == bundle
    make_bundle(tmp_path / "unet")
    with pytest.raises(DentalzooError, match="unet has no released weights"):
        resolve("unet", names=["unet"])
    assert resolve("./unet", names=["unet"]) == Path("unet")


def test_paths_without_a_bundle(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DentalzooError, match="must be the directory of a bundle.*, a file"):
        resolve(tmp_path / "file")
    with pytest.raises(DentalzooError, match=r"must hold a bundle .*metadata.json"):
        resolve(tmp_path)


@pytest.mark.parametrize(
    "wrong, right",
    [
        ("unett", "unet"),
        ("Tooth-VAE", "tooth_vae"),
        ("unett.teeth_v1", "unet.teeth_v1"),
        ("unet/teeth_v1", "unet.teeth_v1"),
        ("unet.teeth_v3", "unet.teeth_v1"),
    ],
)
def test_offers_the_corrected_spelling(wrong, right):
    fails(f"did you mean ([a-z_.]+ or )*{right}\\?", Weights(), name=wrong)


@pytest.mark.parametrize(
    "wrong", ["", "completely different", "a.b.c", "unet.", "./nothing", "a/" * 5000]
)
def test_no_such_name(wrong):
    fails("There is no model", Weights(), name=wrong)


def test_shipped_weights_that_are_not_there():
    message = fails("ships with dentalzoo", Weights())
    assert str(hub.cache_dir() / BUNDLE) in message


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "file:///etc/passwd"},
        {"url": "https://host/file.tar"},
        {"sha256": "ABC"},
        {"sha256": None},
        {"size": 0},
    ],
)
def test_weights_with_a_url_are_checked(wrong):
    facts = {"url": "https://host/file.zip", "sha256": "0" * 64, "size": 1}
    Weights(**facts)
    with pytest.raises(DentalzooError, match="Weights|url"):
        Weights(**{**facts, **wrong})
