"""Load of `dentalzoo serve`: several clients at once, errors, times, and memory of the server.

    .venv/bin/python benchmarks/serving_load.py [--bundle NAME_OR_DIR] [--requests N] [--clients K]

The server is a process of its own; the images are synthetic radiographs of 128 x 256 pixels. Memory
(RSS) is read after a tenth of the requests, when everything has been used once, and at the end.
"""

import argparse
import http.client
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from peers.turns import show

from dentalzoo.data.io.images import encode_png
from dentalzoo.data.synthetic import panoramic


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", default="panoramic_detection.dentex_fdi_v2")
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--clients", type=int, default=8)
    given = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dentalzoo", "serve", given.bundle, "--port", f"{port}"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        wait_for(port)
        name = Path(given.bundle).name
        warm = load(port, name, given.requests // 10, given.clients)
        before = memory(server.pid)
        start = time.perf_counter()
        done = load(port, name, given.requests - len(warm), given.clients)
        seconds = time.perf_counter() - start
        after = memory(server.pid)
    finally:
        server.terminate()
        server.wait(30)
    failed = [status for status, _ in (*warm, *done) if status != 200]
    times = sorted(1000 * each for _, each in done)
    rows = [
        ["requests, clients", f"{len(warm) + len(done)}, {given.clients}"],
        ["errors", f"{len(failed)}"],
        ["requests per second", f"{len(done) / seconds:.1f}"],
        ["median time", f"{statistics.median(times):.0f} ms"],
        ["99th percentile", f"{times[-len(times) // 100]:.0f} ms"],
        ["RSS after a tenth, at the end", f"{before:.0f} MB, {after:.0f} MB"],
    ]
    show(f"{name}, images of 128 x 256", ["", "value"], rows)
    return 1 if failed or after > 1.1 * before else 0


def wait_for(port: int, seconds: float = 120) -> None:
    for _ in range(int(10 * seconds)):
        try:
            ask(port, "GET", "/healthz")
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server does not answer; is the extra `serve` installed?")


def ask(port: int, method: str, path: str, body: bytes | None = None) -> int:
    """Return the status of a request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body, {"Content-Type": "image/png"} if body else {})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def load(port: int, name: str, count: int, clients: int) -> list[tuple[int, float]]:
    """Return status and seconds of each of `count` requests by `clients` threads."""
    bodies = [encode_png(panoramic(seed, 128, 256).image) for seed in range(8)]
    left, done, lock = iter(range(count)), [], threading.Lock()

    def client() -> None:
        while True:
            with lock:
                number = next(left, None)
            if number is None:
                return
            start = time.perf_counter()
            status = ask(port, "POST", f"/v1/{name}", bodies[number % len(bodies)])
            done.append((status, time.perf_counter() - start))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def memory(process: int) -> float:
    """Return the resident memory of a process in 10^6 bytes."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    raise SystemExit(main())
