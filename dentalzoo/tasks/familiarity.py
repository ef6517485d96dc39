"""Whether a bundle knows images like those that it is applied to, and why not, in plain words.

The score is that of the bundle's signature `familiarity`: 1 is its own bound, which 1 % of images
of its kind are above. Up to FOREIGN an image is unusual, such as one of another device, and its
result may still be good; above it the image shows something else.
"""

import json
import logging
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dentalzoo.atomic import write_atomically
from dentalzoo.data.dicom_out.writer import ImageWarning
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks.image_lines import ImageLines

if TYPE_CHECKING:
    import numpy as np

    from dentalzoo.bundle import Bundle

_log = logging.getLogger("dentalzoo")

FILE = "familiarity.json"
SIGNATURE = "familiarity"
FOREIGN = 2.0  # ours
_OPPOSITE = -0.2  # correlation with the mean training image, below which one is its negative
_WORDS = {
    "familiar": "check the result",
    "unusual": "unlike the training images, check the result",
    "foreign": "not the kind of image that this bundle is for, do not rely on the result",
}
_SHORT = {
    "familiar": "Nothing was found, check the result",
    "unusual": "Unusual image, check the result",
    "foreign": "Foreign image, do not rely on the result",
}


class Familiarity:
    """The scores of a bundle, and what they say.

    Args:
        bundle: its metadata are enough until it is called.

    Attributes:
        known: False for a bundle without the signature, which has no score.
    """

    def __init__(self, bundle: "Bundle") -> None:
        self._bundle = bundle
        self.known = SIGNATURE in bundle.metadata.get("signatures", {})
        self._callable: bool | None = None
        self._parts = bundle.metadata.get("familiarity", {}).get("parts", {})

    def __call__(self, image: "np.ndarray", empty: bool = False) -> dict[str, Any]:
        """Return the record of an image.

        Args:
            image: (H, W, 1 or 3) uint8.
            empty: nothing was found in it, where something always is.

        Returns:
            "score", "verdict" ("familiar", "unusual" or "foreign"), "parts", the ratio of each to
            its bound, below 0 where there is less than in the training images, and "reasons".
        """
        values = getattr(self._bundle, SIGNATURE)(image)
        parts = {key: round(float(value), 4) for key, value in values.items()}
        score = parts.pop("score")
        verdict = "familiar" if score <= 1 else "unusual" if score <= FOREIGN else "foreign"
        reasons = [self._reason(key, ratio) for key, ratio in by_size(parts) if abs(ratio) > 1]
        if empty:
            reasons.append("empty result: nothing was found")
        return {"score": score, "verdict": verdict, "parts": parts, "reasons": reasons}

    def can_be_called(self) -> bool:
        """Return False where the runtime lacks the signature and TensorFlow is not installed."""
        if self._callable is None:
            try:
                self._callable = self.known and bool(self._bundle.function(SIGNATURE))
            except DentalzooError as error:
                self._callable = False
                _log.info("no familiarity: %s", error)
        return self._callable

    def _reason(self, part: str, ratio: float) -> str:
        """Return in words what is unlike the training images in a part."""
        known = self._parts.get(part, {"centre": 0.0, "bound": 1.0})
        centre, bound = known["centre"], known["bound"]
        value, more = centre + ratio * bound, ratio > 0
        low, high = centre - bound, centre + bound
        if part == "content":
            return f"other content than the training images ({ratio:.2f} times as far as expected)"
        if part == "layout":
            inverted = 1 - value < _OPPOSITE
            return "inverted polarity, or light and dark elsewhere" if inverted else "other layout"
        if part == "brightness":
            value, low, high = max(value, 0), max(low, 0), min(high, 1)
            shown = f"mean grey level {value:.2f}, expected {low:.2f} to {high:.2f}"
            return f"too {'bright' if more else 'dark'} ({shown})"
        if part == "contrast":
            shown = f"{math.exp(value):.2f}, expected {math.exp(low):.2f} to {math.exp(high):.2f}"
            return (
                f"{'too much contrast' if more else 'too flat'} (deviation of grey levels {shown})"
            )
        if part == "aspect":
            expected = f"{math.exp(low):.2f} to {math.exp(high):.2f}"
            return f"aspect ratio {math.exp(value):.2f}:1, expected {expected}"
        if part == "colour":
            return "a colour image" if more else "less colour than the training images"
        return f"other {part}"


def by_size(parts: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the parts, that of the largest ratio first."""
    return sorted(parts.items(), key=lambda item: -abs(item[1]))


class Warnings(ImageLines):
    """Logs the images that are not familiar, or have an empty result: the first 20 one by one."""

    def add(self, what: object, entry: Mapping[str, Any]) -> None:
        """Take what `Familiarity` returned of an image, which the line calls `what`."""
        if entry["reasons"]:
            self.log(what, warning(entry))

    def close(self, where: str | Path) -> None:
        """Log how many images are left out of the log, and where all of them stand."""
        self.close_with(f"are unusual or foreign; see {where}")


class Table:
    """`familiarity.json`, made in one pass over the records of all inputs and in constant memory.

    A JSON list of an entry for each image: "file", and what `Familiarity` returns. Images that are
    not familiar are logged, see `Warnings`.
    """

    def __init__(self) -> None:
        self._spool = tempfile.TemporaryFile(  # noqa: SIM115  # closed in __exit__
            "w+", encoding="utf-8", errors="backslashreplace"
        )
        self._rows, self._warnings = 0, Warnings()

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *raised: object) -> None:
        self._spool.close()

    def taken(
        self, records: Iterable[tuple[Any, Mapping[str, Any]]]
    ) -> Iterator[tuple[Any, Mapping[str, Any]]]:
        """Yield all records, and note what they hold of familiarity."""
        for item, record in records:
            if SIGNATURE in record:
                self._add(item, record[SIGNATURE])
            yield item, record

    def _add(self, item: Any, entry: Mapping[str, Any]) -> None:
        line = json.dumps({"file": item.file, **entry}, ensure_ascii=False)
        self._spool.write(f"{',' if self._rows else '['}\n{line}")
        self._rows += 1
        self._warnings.add(item.path, entry)

    def write(self, out: Path) -> list[Path]:
        """Write the file where any record was of familiarity, and return its path."""
        if not self._rows:
            return []
        self._warnings.close(out / FILE)
        self._spool.write("\n]\n")
        self._spool.seek(0)

        def copy(file: Any) -> None:
            for line in self._spool:
                file.write(line.encode("utf-8", "backslashreplace"))

        write_atomically(out / FILE, copy)
        return [out / FILE]


def warning(entry: Mapping[str, Any]) -> str:
    """Return the line that warns of an image."""
    score = f"familiarity score {entry['score']:.2f}, bound 1"
    return f"{_WORDS[entry['verdict']]}: {'; '.join(entry['reasons'])} ({score})"


def image_warnings(entries: Iterable[Mapping[str, Any] | None]) -> tuple[ImageWarning, ...]:
    """Return the warnings of an image for its DICOM results, in the words of the log.

    Args:
        entries: what `Familiarity` returned of it, of one bundle or of several, then with the
            bundle's "role", which the warning begins with; None where nothing is known.

    Returns:
        One for each entry that gives a reason, that of the largest score first.
    """
    given = [entry for entry in entries if entry and entry["reasons"]]
    warnings = []
    for entry in sorted(given, key=lambda entry: -entry["score"]):
        of = f"{entry['role']}: " if "role" in entry else ""
        warnings.append(ImageWarning(f"{of}{_SHORT[entry['verdict']]}", f"{of}{warning(entry)}"))
    return tuple(warnings)
