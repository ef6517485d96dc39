"""The sub-command `serve`."""

import os
import socket
import sys
from argparse import Namespace
from pathlib import Path

import dentalzoo as dz
from dentalzoo import limits
from dentalzoo.errors import DentalzooError, require
from dentalzoo.serving.flags import DEFAULT_BUNDLES


def do_serve(options: Namespace) -> None:
    uvicorn = require("uvicorn", "serve")
    from dentalzoo.serving.app import Limits, make_app

    for name, least in {"max_bytes": 1, "threads": 1, "waiting": 0, "timeout": 0.001}.items():
        if not getattr(options, name) >= least:
            raise DentalzooError(
                f"--{name.replace('_', '-')} must be at least {least}. "
                f"Received: {getattr(options, name)}"
            )
    os.environ.pop(limits.SECONDS, None)  # it would end the server; --timeout answers instead
    bundles = [dz.load(name) for name in options.bundles or DEFAULT_BUNDLES]
    app = make_app(
        bundles,
        Limits(options.max_bytes, options.threads, options.waiting, options.timeout),
        hosts=("127.0.0.1", "localhost", "[::1]", options.host, *options.allow_host),
        page=Path(options.page) if options.page else None,
        label_studio=options.label_studio,
    )
    with _listening(options.host, options.port) as listening:
        port = listening.getsockname()[1]
        print(f"serving {len(bundles)} bundles at http://{options.host}:{port}/v1", flush=True)
        print("research only, not for diagnosis; Ctrl-C ends it", file=sys.stderr)
        settings = {"log_level": "warning", "access_log": False, "server_header": False}
        uvicorn.Server(uvicorn.Config(app, **settings)).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """Return the socket of the server.

    Raises:
        DentalzooError: the address is not one of this machine, or in use.
    """
    if not 0 <= port <= 65535:
        raise DentalzooError(f"--port must be a number from 0 to 65535. Received: {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise DentalzooError(
            f"{host}:{port} must be an address of this machine that is not in use; --port 0 takes "
            f"a free one. Received: {error}"
        ) from error
