"""The sub-command `serve`."""

import os
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
    print(f"serving {len(bundles)} bundles at http://{options.host}:{options.port}/v1")
    print("research only, not for diagnosis; Ctrl-C ends it", file=sys.stderr)
    uvicorn.run(
        app,
        host=options.host,
        port=options.port,
        log_level="warning",
        access_log=False,
        server_header=False,
    )
