"""A server on this machine that speaks the Hub's API, as huggingface_hub calls it, with faults."""

import base64
import hashlib
import json
import os
import re
import signal
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 10_000  # bytes from which on a file is stored by its SHA-256, behind a redirect
BLOCK = 4096


def git_digest(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Server(ThreadingHTTPServer):
    """Model repositories, and archives by their path.

    Attributes:
        commits: commit -> path -> content.
        branches: repository -> branch -> commit.
        archives: path -> content.
        faults: those of the next answers with content, in order: a status, "cut", "stall", or
            "die", after which there are no answers at all.
        lies: path in a repository -> keys of its description that are replaced.
        answer: bytes in place of each description of a revision.
        private: repositories that need the token "secret".
        requests: (method, path, Range, Authorization) of each request.
        victim, budget: this process is killed when so many bytes of content were sent.
        before_kill: called then.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.commits, self.branches, self.archives, self.objects = {}, {}, {}, {}
        self.faults, self.lies, self.private, self.requests = [], {}, set(), []
        self.answer, self.dead = None, False
        self.ended, self.armed, self.lock = threading.Event(), threading.Event(), threading.Lock()
        self.victim, self.budget, self.before_kill = 0, None, lambda: None

    def handle_error(self, request, client_address):
        pass  # a client that went away

    def add(self, repository, files, branch="main"):
        """Commit files to a branch of a repository, and return the commit."""
        described = json.dumps([repository, {k: sha256(v) for k, v in sorted(files.items())}])
        commit = hashlib.sha1(described.encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.branches.setdefault(repository, {})[branch] = commit
        for content in files.values():
            self.objects[sha256(content)] = content
        return commit

    def files_of(self, repository, revision):
        """Return commit and files of a revision; None where there is none."""
        branches = self.branches.get(repository, {})
        commit = branches.get(revision, revision if revision in self.commits else None)
        return (commit, self.commits[commit]) if commit else None

    def paths(self):
        return [path for _, path, _, _ in self.requests]


@contextmanager
def running():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def handle_one_request(self):
        if self.server.dead:
            self.close_connection = True
            return
        try:
            super().handle_one_request()
        except OSError:  # the client went away
            self.close_connection = True

    def _note(self):
        self.at = urlsplit(self.path)
        headers = self.headers
        self.server.requests.append(
            (self.command, self.at.path, headers.get("Range"), headers.get("Authorization"))
        )

    def _denied(self, repository):
        token = self.headers.get("Authorization")
        return repository in self.server.private and token != "Bearer secret"

    # ---- reading -----------------------------------------------------------------------------

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self._note()
        server, path = self.server, unquote(self.at.path)
        if path in server.archives:
            return self._content(server.archives[path])
        if match := re.fullmatch(r"/cdn/([0-9a-f]{64})", path):
            return self._content(server.objects[match[1]])
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/(.+))?", path):
            return self._describe(match[1], match[3] or "main")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)(/.*)?", path):
            found = server.files_of(match[1], match[2])
            if not found:
                return self._json({"error": "not found"}, 404)
            return self._json([self._tree(name, data) for name, data in found[1].items()])
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._resolve(*match.groups())
        return self._json({"error": "not found"}, 404)

    def _describe(self, repository, revision):
        if self.server.answer is not None:
            return self._send(self.server.answer)
        found = self.server.files_of(repository, revision)
        if not found or self._denied(repository):
            status = 404 if repository in self.server.branches else 401
            return self._json({"error": "no such repository"}, status)
        files = []
        for name, content in found[1].items():
            file = {"rfilename": name, "size": len(content), "blobId": git_digest(content)}
            if len(content) >= LARGE:
                file["lfs"] = {"sha256": sha256(content), "size": len(content), "pointerSize": 130}
            files.append(file | self.server.lies.get(name, {}))
        blobs = "blobs" in parse_qs(self.at.query)
        files = files if blobs else [{"rfilename": file["rfilename"]} for file in files]
        private = repository in self.server.private
        return self._json(
            {"id": repository, "sha": found[0], "siblings": files, "tags": [], "private": private}
        )

    def _tree(self, name, content):
        file = {"type": "file", "path": name, "size": len(content), "oid": git_digest(content)}
        if len(content) >= LARGE:
            file["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
        return file

    def _resolve(self, repository, revision, name):
        found = self.server.files_of(repository, revision)
        if not found or name not in found[1] or self._denied(repository):
            return self._json({"error": "not found"}, 404)
        content = found[1][name]
        if len(content) < LARGE:
            return self._content(content)
        self.send_response(302)
        self.send_header("Location", f"{self.server.url}/cdn/{sha256(content)}")
        self.send_header("X-Repo-Commit", found[0])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _content(self, content):
        server = self.server
        fault = server.faults.pop(0) if server.faults else None
        if isinstance(fault, int):
            return self._json({"error": "fault"}, fault)
        if fault == "stall":
            server.ended.wait()
            self.close_connection = True
            return
        start = 0
        if asked := self.headers.get("Range"):
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(content):
                return self._json({"error": "range"}, 416)
        self.send_response(206 if start else 200)
        if start:
            end = f"{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", f"bytes {start}-{end}")
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault in ("cut", "die"):
            body = body[: len(body) // 2]
            self.close_connection = True
            server.dead = fault == "die"
        for at in range(0, len(body), BLOCK):
            self._spend(body[at : at + BLOCK])

    def _spend(self, block):
        server = self.server
        if server.budget is None:
            self.wfile.write(block)
            return
        server.armed.wait()
        with server.lock:
            block = block[: server.budget]
            server.budget -= len(block)
            last = server.budget == 0
        self.wfile.write(block)
        if last:
            self.wfile.flush()
            server.before_kill()
            os.kill(server.victim, signal.SIGKILL)
            raise ConnectionAbortedError("the client was killed")

    def _json(self, content, status=200):
        self._send(json.dumps(content).encode(), status)

    def _send(self, content, status=200):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    # ---- writing -----------------------------------------------------------------------------

    def _body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_PUT(self):
        self._note()
        content = self._body()
        if self.server.faults:
            return self._json({"error": "fault"}, self.server.faults.pop(0))
        assert self.at.path == f"/lfs/{sha256(content)}"
        self.server.objects[sha256(content)] = content
        self._json({})

    def do_POST(self):
        self._note()
        server, path, body = self.server, unquote(self.at.path), self._body()
        if self.headers.get("Authorization") != "Bearer secret":
            return self._json({"error": "Invalid username or password."}, 401)
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            repository = f"{asked.get('organization', 'lab')}/{asked['name']}"
            if repository in server.branches:
                return self._json({"error": "exists", "url": f"{server.url}/{repository}"}, 409)
            if asked.get("private") or asked.get("visibility") == "private":
                server.private.add(repository)
            server.add(repository, {".gitattributes": b"*.bin filter=lfs\n"})
            return self._json({"url": f"{server.url}/{repository}", "name": repository})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/(.+)", path):
            files = json.loads(body)["files"]
            return self._json({"files": [self._mode(match[1], file) for file in files]})
        if re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            objects = json.loads(body)["objects"]
            return self._json({"transfer": "basic", "objects": [*map(self._batch, objects)]})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/branch/(.+)", path):
            server.branches[match[1]][match[2]] = server.branches[match[1]]["main"]
            return self._json({})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/(.+)", path):
            return self._commit(match[1], match[2], body)
        return self._json({"error": "not found"}, 404)

    def _mode(self, repository, file):
        mode = "lfs" if file["size"] >= LARGE else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}

    def _batch(self, item):
        if item["oid"] in self.server.objects:
            return {"oid": item["oid"], "size": item["size"]}
        upload = {"href": f"{self.server.url}/lfs/{item['oid']}", "header": {}}
        return {"oid": item["oid"], "size": item["size"], "actions": {"upload": upload}}

    def _commit(self, repository, revision, body):
        found = self.server.files_of(repository, revision)
        if not found:
            return self._json({"error": "not found"}, 404)
        files = dict(found[1])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        commit = self.server.add(repository, files, revision)
        url = f"{self.server.url}/{repository}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url})
