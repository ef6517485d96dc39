"""The flags of the sub-command `serve`."""

import argparse

DEFAULT_BUNDLES = (
    "panoramic_unet.panoramic_teeth_v2",
    "panoramic_detection.dentex_fdi_v2",
    "panoramic_detection.dental_radiography_v4",
)


def add_serve_flags(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `serve`."""
    parser.add_argument(
        "bundles",
        nargs="*",
        metavar="BUNDLE",
        help=f"names or folders of bundles (default: {', '.join(DEFAULT_BUNDLES)})",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to bind (default 8000)")
    parser.add_argument("--page", metavar="DIR", help="folder of a static page, shown at /")
    parser.add_argument(
        "--allow-host",
        nargs="+",
        default=[],
        metavar="NAME",
        help="further names of this machine in addresses; * for any (default: only its own)",
    )
    parser.add_argument(
        "--label-studio",
        metavar="ADDRESS",
        help="Label Studio whose images are fetched, with the token in LABEL_STUDIO_API_KEY",
    )
    parser.add_argument(
        "--max-bytes", type=int, default=64 * 2**20, help="of a request (default 64 MiB)"
    )
    parser.add_argument("--threads", type=int, default=2, help="requests at once (default 2)")
    parser.add_argument("--waiting", type=int, default=16, help="requests that wait (default 16)")
    parser.add_argument(
        "--timeout", type=float, default=60.0, help="seconds that a request may take (default 60)"
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        metavar="N",
        help="refuse larger images before they are decoded (default: DENTALZOO_MAX_PIXELS, else "
        "100 million)",
    )
