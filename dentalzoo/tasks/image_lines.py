"""Warnings about images one by one, of which a run may have thousands."""

import logging

_log = logging.getLogger("dentalzoo")

_MAX_LINES = 20


class ImageLines:
    """Logs a line for each image, the first 20."""

    def __init__(self) -> None:
        self._images = 0

    def log(self, what: object, text: str) -> None:
        """Log `text` of an image, which the line calls `what`."""
        self._images += 1
        if self._images <= _MAX_LINES:
            _log.warning("%s: %s", what, text)

    def close_with(self, rest: str) -> None:
        """Say how many images are left out of the log: `rest` is what they have, and what to do."""
        if (more := self._images - _MAX_LINES) > 0:
            _log.warning("and %d more images %s", more, rest)
