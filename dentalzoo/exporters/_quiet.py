"""What converters print of themselves, held back."""

import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# A log line of TensorFlow's C++ that is no error, which no setting hides: I0000 00:00:... file.cc:1
_CHATTER = re.compile(rb"[IW]\d{4} \d\d:\d\d:|WARNING: All log messages before absl::InitializeLog")


@contextmanager
def without_warnings() -> Iterator[None]:
    """Hide the Python warnings that converters give of themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def without_chatter() -> Iterator[None]:
    """Print what is written to the standard error stream at the end, but for TensorFlow's chatter.

    The stream of the process, since C++ writes there: other threads are held back as well.
    """
    with tempfile.TemporaryFile() as held:
        try:
            stream = os.dup(2)
        except OSError:  # a process without one
            yield
            return
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stream, 2)
            os.close(stream)
            held.seek(0)
            with suppress(OSError):  # its reader has gone
                for line in held:
                    if not _CHATTER.match(line):
                        os.write(2, line)
